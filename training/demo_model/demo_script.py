"""The script of the demonstration calls: speakers, phrases, times and kind of line.

Nothing here may reach training: `corpus.py` excludes every sentence and `voices.py` separates the voices
(`tests/training/demo_model/test_corpus.py` proves both). Phone numbers are fictitious.
"""

# fmt: off
from dataclasses import dataclass

CUSTOMER, AGENT = 0, 1


@dataclass(frozen=True)
class Line:
    text: str
    pause_s: float = 0.6
    speaker: int = CUSTOMER


@dataclass(frozen=True)
class ScriptedCall:
    file: str
    language: str
    description: str
    lines: tuple[Line, ...] = ()
    voices: tuple[str, ...] = ()
    accent: str = ""
    code_mixed: bool = False
    noise: str = "line"
    noise_snr_db: float = 30.0
    encoding: str = "pcm"
    channels: int = 1
    speed_wpm: int = 155
    silence_s: float = 0.0


def _lines(*texts: str, pause_s: float = 0.7) -> tuple[Line, ...]:
    return tuple(Line(text, pause_s) for text in texts)


NEW_PATTERNS = {
    "hi": (
        "नमस्ते मैं नासिक से कविता बोल रही हूँ।",
        "मेरा पंखा अभी तक नहीं आया।",
        "सामान जयपुर कब आएगा?",
        "देखिए मुझे गलत घड़ी मिला है।",
        "मुझे घड़ी वापस करना है।",
        "मैंने शुक्रवार को दो हज़ार तीन सौ रुपये दिए थे।",
        "मेरा पैसा अभी तक वापस नहीं आया।",
        "कृपया मुझे रविवार को शाम को फोन कीजिए।",
        "मेरा order अभी तक नहीं आया।",
        "delivery कब होगी?",
        "कृपया मेरा status check कर दीजिए।",
        "हाँ जी मेरा payment रविवार को fail हो गया था।",
        "मेरे account में refund अभी तक नहीं आया।",
        "सुनिए मुझे कंबल का order cancel करना है।",
        "मुझे कंबल का refund चाहिए।",
        "नमस्ते बताइए आपको क्या चाहिए?",
        "मेरा प्रिंटर अभी तक नहीं पहुँचा है।",
        "ठीक है मैं अभी status देखता हूँ।",
        "मैं मंगलवार से इंतज़ार कर रहा हूँ।",
        "आपका प्रिंटर बुधवार को सुबह आएगा।",
        "ठीक है आपका धन्यवाद।",
        "नमस्ते मैं इंदौर से विक्रम बोल रहा हूँ।",
        "मैंने सोमवार को पाँच सौ साठ रुपये दिए थे।",
        "मेरा कुर्सी अभी तक नहीं आया।",
        "मेरा order number सात दो नौ चार है।",
        "मुझे कोई email नहीं मिला।",
        "मैं सोमवार से बहुत परेशान हूँ।",
        "कृपया मेरा order जल्दी भेज दीजिए।",
        "मेरा पता इंदौर में है।",
        "क्या आप शनिवार को भेज सकते हैं?",
        "मेरा नंबर आठ तीन एक छह है।",
        "मुझे अनीता से बात करनी है।",
        "मुझे कुर्सी का refund चाहिए।",
        "मुझे शनिवार को दोपहर में call कीजिए।",
        "माफ़ कीजिए मैं बहुत परेशान हूँ।",
        "आपका धन्यवाद और नमस्ते।",
    ),
    "en": (
        "Hello this is Deepak from Nashik.",
        "My mixer is broken.",
        "I want a refund on Sunday.",
        "Okay when will my saree arrive?",
        "Please deliver the saree to Indore on Friday.",
        "Good morning this is Kavita.",
        "I received the wrong keyboard on Monday.",
        "I paid nine hundred forty rupees.",
        "Please call me on Thursday in the evening.",
        "Sir how much is the pressure cooker today?",
    ),
    "mr": (
        "नमस्कार मी नागपूर मधून मीरा बोलतेय।",
        "माझा नवीन पत्ता लखनऊ मध्ये आहे।",
        "कृपया सामान लखनऊ ला पाठवा।",
        "बघा माझा खुर्ची तुटला आहे।",
        "मला खुर्ची परत करायचा आहे।",
        "मी गुरुवारी सहाशे पन्नास रुपये दिले होते।",
        "माझे पैसे अजून परत आले नाहीत।",
    ),
}
"""Known words in sentences that no template makes. Kept out of training too: they measure how much the model listens
and how much it recites. Not part of the calls."""

CALLS: tuple[ScriptedCall, ...] = (
    ScriptedCall("hi-late-fan.wav", "hi", "A customer asks about a late fan; three phrases.", _lines(
        "नमस्ते मैं मुंबई से बोल रही हूँ।", "अच्छा मेरा पंखा का order कहाँ है?", "सुनिए क्या आप शनिवार को भेज सकते हैं?"),
        ("hi+belinda",), "hindi", code_mixed=True),
    ScriptedCall("hi-wrong-chair.wav", "hi", "A wrong item, noisy line.", _lines(
        "नमस्ते मुझे गलत कुर्सी मिला है।", "ठीक है मुझे मिक्सर वापस करना है।"),
        ("hi+david",), "hindi", noise="street", noise_snr_db=12.0),
    ScriptedCall("hi-refund-sum.wav", "hi", "Sums of money and days.", _lines(
        "मैंने शनिवार को दो हज़ार पाँच सौ बीस रुपये दिए थे।", "मैं गुरुवार से इंतज़ार कर रहा हूँ।",
        "कृपया मुझे शनिवार को शाम को फोन कीजिए।"),
        ("hi+victor",), "hindi", noise_snr_db=22.0),
    ScriptedCall("hi-mixed-order.wav", "hi", "Hindi with English words: a late order.", _lines(
        "नमस्ते delivery बहुत late है।", "सुनिए order का status क्या है?", "जी मुझे refund कब मिलेगा?"),
        ("hi+Andrea",), "hindi", code_mixed=True),
    ScriptedCall("hi-mixed-payment.wav", "hi", "Hindi with English words: a failed payment.", _lines(
        "हाँ जी मेरा payment शनिवार को fail हो गया था।", "देखिए मैंने चार सौ सत्तर रुपये का payment किया था।"),
        ("hi+victor",), "hindi", code_mixed=True, encoding="mulaw"),
    ScriptedCall("hi-mixed-cancel-noisy.wav", "hi", "Hindi with English words on a noisy line.", _lines(
        "ठीक है मुझे order cancel करना है।", "मुझे मिक्सर का refund चाहिए।"),
        ("hi+belinda",), "hindi", code_mixed=True, noise="babble", noise_snr_db=13.0),
    ScriptedCall("en-broken-mobile.wav", "en", "A broken phone, three phrases.", _lines(
        "Okay my name is Meera.", "Hello the mobile is broken.", "Well I want a refund for the mixer."),
        ("en-gb+david",), "british"),
    ScriptedCall("en-delivery-noisy.wav", "en", "A delivery on a noisy line.", _lines(
        "Yes the keyboard did not arrive.", "Okay please deliver it to Lucknow."),
        ("en-us+Andrea",), "american", noise="street", noise_snr_db=12.0),
    ScriptedCall("en-long-pauses.wav", "en", "Long pauses between four phrases.", _lines(
        "This is Kavita from Pune.", "I am waiting since Sunday.", "I paid four hundred rupees on Tuesday.",
        "Please call me on Thursday evening.", pause_s=2.2),
        ("en-us+belinda",), "american", noise_snr_db=25.0),
    ScriptedCall("en-short-price.mp3", "en", "One short question, kept as an MP3 by the telephone company.", _lines(
        "Sir is the wall clock ready?"), ("en-gb+victor",), "british", encoding="mp3"),
    ScriptedCall("mr-new-address.wav", "mr", "A changed address in Marathi.", _lines(
        "ठीक आहे मी लखनऊ मधून बोलतेय।", "नमस्कार माझा नवीन पत्ता पुणे मध्ये आहे।", "बघा कृपया हे नागपूर ला पाठवा।"),
        ("mr+Andrea",), "marathi"),
    ScriptedCall("mr-broken-bottle-noisy.wav", "mr", "A broken bottle in Marathi, noisy line.", _lines(
        "बरं बाटली तुटला आहे।", "नाही मला साडी परत करायचा आहे।"),
        ("mr+david",), "marathi", noise="street", noise_snr_db=13.0),
    ScriptedCall("mr-refund-days.wav", "mr", "Sums and days in Marathi.", _lines(
        "मी शनिवारी नऊशे रुपये दिले होते।", "बरं मी सोमवारी पासून वाट बघतोय।"),
        ("mr+victor",), "marathi", noise_snr_db=20.0),
    ScriptedCall("hi-two-legs.wav", "hi", "Agent on the right channel, customer on the left, in turn.", (
        Line("हाँ नमस्ते मैं आपकी क्या मदद कर सकता हूँ?", 0.5, AGENT), Line("सुनिए कुकर अभी तक नहीं आया।", 0.7),
        Line("माफ़ कीजिए आपका सामान शनिवार को नासिक भेजा गया था।", 0.6, AGENT),
        Line("ठीक है मैं रविवार से इंतज़ार कर रहा हूँ।", 0.8),
        Line("नमस्ते आपका सामान गुरुवार को आएगा।", 0.6, AGENT), Line("सुनिए कृपया लाइन पर रहिए।", 0.5)),
        ("hi+david", "hi+belinda"), "hindi", channels=2),
    ScriptedCall("hi-long-complaint.wav", "hi", "Longer than a minute: one complaint in many phrases.", _lines(
        "हाँ मैं दिल्ली से राहुल बोल रहा हूँ।", "हाँ जी मैंने सोमवार को पाँच सौ साठ रुपये दिए थे।",
        "नहीं कुर्सी अभी तक नहीं आया।", "मेरा order number छह शून्य छह सात आठ है।", "मेरा कुकर damage हो गया है।",
        "देखिए मुझे गलत मोबाइल मिला है।", "सुनिए मुझे कुर्ता वापस करना है।", "जी मेरा नया address मुंबई में है।",
        "नमस्ते क्या आप मंगलवार को भेज सकते हैं?", "मेरा नंबर आठ आठ सात चार है।", "देखिए मुझे सुरेश से बात करनी है।",
        "मुझे साड़ी का refund चाहिए।", "देखिए कृपया मुझे शुक्रवार को call कीजिए।",
        "अच्छा मुझे customer care से बात करनी है।", "हाँ आपका दिन अच्छा रहे।", pause_s=1.9),
        ("hi+Alicia",), "hindi", code_mixed=True, noise_snr_db=24.0),
    ScriptedCall("silence.wav", "hi", "Nobody speaks: line noise only.", silence_s=9.0, noise="line"),
    ScriptedCall("hold-music.wav", "hi", "Hold music with a mains hum; nobody speaks.", silence_s=12.0, noise="music"),
)
