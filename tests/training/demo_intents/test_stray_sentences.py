"""The bundled parser on sentences that have nothing to do with its shop, written after it was made and used to choose
nothing: what it lets through at the threshold it is served with. Small models know little of what they do not know; the
bounds are what it reaches, with room for another processor, not what would be good."""

import pytest

from ml_backend.nlu import loading
from training.demo_intents import encoder_maker, intent_corpus
from training.scoring import intent_scores

STRAY = """
en: did you watch the film last night / my brother lives in canada / how do i cook rice / the train is late
again / what is two plus two / can you recommend a good book / it is my birthday today / i am stuck in traffic /
please remind me to call my sister / what is the population of india / the baby is sleeping / set an alarm for
six / open the window please / which team plays tomorrow / i forgot my umbrella / how far is the airport / do
you like cricket / translate this into french / my internet is not working / who is the prime minister / the
food was too spicy / call me a taxi
hi: कल रात फिल्म देखी क्या / मेरा भाई कनाडा में रहता है / चावल कैसे पकाते हैं / ट्रेन फिर लेट है / दो और दो
कितने होते हैं / आज मेरा जन्मदिन है / ट्रैफिक में फंस गया हूँ / बच्चा सो रहा है / छह बजे का अलार्म लगाओ / खिड़की
खोल दो / मेरा इंटरनेट नहीं चल रहा / प्रधानमंत्री कौन है / खाना बहुत तीखा था / टैक्सी बुला दो
hi-Latn: kal raat film dekhi kya / mera bhai canada mein rehta hai / chawal kaise pakate hain / train phir late
hai / aaj mera birthday hai / traffic mein phas gaya hoon / bachcha so raha hai / chhe baje ka alarm lagao /
khidki khol do / mera internet nahi chal raha / khana bahut teekha tha / taxi bula do
mr: काल रात्री चित्रपट पाहिला का / माझा भाऊ कॅनडात राहतो / भात कसा शिजवायचा / ट्रेन पुन्हा उशिरा आहे / आज माझा
वाढदिवस आहे / बाळ झोपले आहे / सहा वाजताचा गजर लाव / खिडकी उघड / माझे इंटरनेट चालत नाही / जेवण खूप तिखट होते
"""


@pytest.fixture(scope="module")
def scored():
    """Stray sentences, and people's wordings of the shop that training did not see."""
    parser = loading.load()
    inside = [
        (row.id, row.text, row.intent)
        for row in intent_corpus.utterances("shop", seed=encoder_maker.SEED)
        if row.split == intent_corpus.TEST and row.source == "human"
    ]
    outside = [(text, text, intent_scores.NONE_OF_THESE) for text in stray()]
    return [
        {"id": name, "reference": {"intent": intent}, "prediction": parser.parse(text).to_json()}
        for name, text, intent in (*inside, *outside)
    ]


def stray():
    texts = " ".join(STRAY.split()).replace("hi-Latn:", "/").replace("en:", "/").replace("hi:", "/").replace("mr:", "/")
    return [text.strip() for text in texts.split("/") if text.strip()]


def test_few_stray_sentences_get_an_intent_and_few_right_answers_are_refused(scored):
    found = intent_scores.false_accepts(scored)
    print(found, intent_scores.out_of_scope_auroc(scored))
    assert found["false_accept_rate"] <= 0.30  # 0.52 where the threshold was chosen by eleven rows out of scope
    assert found["false_refusal_rate"] <= 0.30
    assert intent_scores.out_of_scope_auroc(scored) >= 0.80
