"""Words that people write in two scripts, with their spellings: Hindi in Roman letters, English in Devanagari.

Roman Hindi has no standard spelling. These are the words of everyday calls that rules cannot settle, or that are so
frequent that they must be right without the other text. A line of `HINDI` is one Devanagari word and its Roman
spellings; a line of `ENGLISH` one English word and its Devanagari spellings. Each spelling is in one line only.
"""

from __future__ import annotations

from types import MappingProxyType

HINDI = """
है hai|हैं hain|हूँ hoon hun hu|हो ho|था tha|थी thi thee|थे the|हाँ haan ha han haa|जी ji jee
नहीं nahi nahin nahee nai nhi|ना naa|मैं main mai|में mein|मुझे mujhe muje mujhey|मेरा mera|मेरी meri
मेरे mere|हम hum ham|हमें hamein humein hame|हमारा hamara humara|हमारी hamari humari|हमारे hamare humare
आप aap ap|आपका aapka apka|आपकी aapki apki|आपके aapke apke|आपको aapko apko|आपने aapne apne|तुम tum|तू tu
वह voh|वो wo woh|यह yah yeh|ये ye|इस iss|उस uss|इसका iska|उसका uska|इसे ise|उसे use|कौन kaun kon
क्या kya kyaa|क्यों kyon kyun kyu|क्योंकि kyonki kyunki kyuki|कैसे kaise kese|कैसा kaisa|कैसी kaisi
कब kab|कहाँ kahan kaha kahaan|कितना kitna|कितनी kitni|कितने kitne|कुछ kuch kuchh|कोई koi|सब sab
बहुत bahut bohot bahot|अच्छा accha achha acha achchha|अच्छी acchi achhi achi|ठीक theek thik teek|बस bas
अभी abhi abi|अब ab|आज aaj aj|कल kal|फिर phir fir|तो to toh|और aur or|या ya|लेकिन lekin|पर par|भी bhi bi
ही hi hee|का ka|के ke kay|को ko|से se|ने ne|साथ sath|लिए liye lie|तक tak|वाला wala vala waala
वाली wali vali waali|करना karna|करो karo|करें karein kare|करके karke|करता karta|करते karte|करती karti
करूँ karu karoon|किया kiya kia|दीजिए dijiye dijie deejiye|कीजिए kijiye kijie keejiye|लीजिए lijiye
बताइए bataiye bataie|बताओ batao|बता bata|रहा raha|रही rahi|रहे rahe|गया gaya gya|गई gayi gai|गए gaye gae
आया aaya aya|आई aayi aai|आएगा aayega aaega ayega|आएगी aayegi aaegi|जाएगा jayega jaega jaayega|होगा hoga
होगी hogi|होता hota|होती hoti|हुआ hua huwa|हुई hui|चाहिए chahiye chahie chaiye chahiyen|चाहता chahta
चाहती chahti|मिला mila|मिली mili|मिलेगा milega|मिलेगी milegi|पैसा paisa|पैसे paise pese
रुपये rupaye rupay rupye rupees|चाय chai chay|दिल्ली delhi dilli|हैदराबाद hyderabad haidarabad
वापस wapas vapas waapas|काम kaam|घर ghar|पता pata|नाम naam|नया naya
पुराना purana|टूटा toota tuta|ख़राब kharab|भेज bhej|भेजा bheja|भेजो bhejo|दिया diya|लिया liya
धन्यवाद dhanyavad dhanyawad|नमस्ते namaste|शुक्रिया shukriya|ज़्यादा zyada jyada zyaada|सिर्फ़ sirf
पहले pehle pahle|बाद baad|दिन din|समय samay|जल्दी jaldi|देर der|मतलब matlab|समझ samajh|सही sahi|गलत galat
बात baat|बोल bol|बोलो bolo|बोला bola|सुनो suno|किलो kilo|चीनी cheeni chini|दूध doodh dudh
चावल chawal chaval
"""

MARATHI = """
आहे aahe ahe|आहेत aahet ahet|नाही naahi|मला mala|माझा majha maza|माझी majhi mazi|माझे majhe maze
तुम्ही tumhi|आम्ही aamhi amhi|काय kay kaay|कधी kadhi|कुठे kuthe|किती kiti|पाहिजे pahije|हवे have|हवं hava
झाले jhale zale|झालं jhala zala|करा kara|द्या dya|सांगा sanga|आणि aani ani|पण pan|होय hoy|बरं bara
खूप khup khoop|उद्या udya|आता aata ata
"""

ENGLISH = """
order ऑर्डर आर्डर ओर्डर|payment पेमेंट पेमेन्ट|delivery डिलीवरी डिलिवरी डिलीव्हरी डिलिव्हरी
cancel कैंसिल कैंसल कैन्सल कॅन्सल|refund रिफंड रिफ़ंड|mobile मोबाइल मोबाईल|number नंबर नम्बर
phone फोन फ़ोन|call कॉल काल|address एड्रेस अड्रेस ॲड्रेस|account अकाउंट एकाउंट अकाऊंट|bank बैंक बँक
online ऑनलाइन ऑनलाईन|offline ऑफलाइन|customer कस्टमर|care केयर केअर|service सर्विस
product प्रोडक्ट प्रॉडक्ट|price प्राइस|rate रेट|bill बिल|size साइज़ साईज साइज|colour कलर|return रिटर्न
exchange एक्सचेंज|replace रिप्लेस|damage डैमेज|status स्टेटस|track ट्रैक|tracking ट्रैकिंग
message मैसेज मेसेज|sms एसएमएस|whatsapp व्हाट्सएप व्हाट्सऐप वॉट्सऐप|link लिंक|app ऐप एप अॅप
website वेबसाइट|email ईमेल|password पासवर्ड|otp ओटीपी|upi यूपीआई|cash कैश कॅश|card कार्ड|credit क्रेडिट
debit डेबिट|discount डिस्काउंट|offer ऑफर|coupon कूपन|code कोड|pin पिन|time टाइम टाईम|minute मिनट मिनिट
hour आवर|late लेट|problem प्रॉब्लम प्रॉब्लेम|complaint कंप्लेंट कम्प्लेंट|request रिक्वेस्ट
confirm कन्फर्म कंफर्म|please प्लीज़ प्लीज|sorry सॉरी|thank थैंक|thanks थैंक्स|you यू
hello हेलो हैलो हॅलो|okay ओके|yes यस|no नो|sir सर|madam मैडम मॅडम|manager मैनेजर मॅनेजर|office ऑफिस
home होम|shop शॉप|store स्टोर|pack पैक|packet पैकेट पॅकेट|box बॉक्स|gram ग्राम|litre लीटर लिटर
charger चार्जर|battery बैटरी बॅटरी|screen स्क्रीन|laptop लैपटॉप लॅपटॉप|shirt शर्ट|chair चेयर|table टेबल
bottle बॉटल|book बुक|booking बुकिंग|train ट्रेन|ticket टिकट टिकीट|hotel होटल|doctor डॉक्टर
hospital हॉस्पिटल|school स्कूल|college कॉलेज|company कंपनी कम्पनी|insurance इंश्योरेंस|loan लोन
issue इश्यू|station स्टेशन|airport एयरपोर्ट|taxi टैक्सी टॅक्सी|computer कंप्यूटर कम्प्यूटर
user यूज़र यूजर|dispatch डिस्पैच|courier कूरियर कुरियर|verification वेरिफिकेशन|verify वेरिफाई
update अपडेट|download डाउनलोड|balance बैलेंस बॅलन्स|transaction ट्रांजैक्शन ट्रांज़ैक्शन|success सक्सेस
quality क्वालिटी|sample सैंपल|available अवेलेबल|date डेट|monday मंडे|team टीम|confirmation कन्फर्मेशन
agent एजेंट|line लाइन लाईन|document डॉक्यूमेंट|restaurant रेस्टोरेंट रेस्टॉरंट|night नाइट नाईट
wifi वाइफाई वायफाय|tv टीवी|fridge फ्रिज|machine मशीन|guarantee गारंटी|gst जीएसटी|emi ईएमआई|bye बाय
bike बाइक बाईक|bread ब्रेड|aunty आंटी|average एवरेज|image इमेज|language लैंग्वेज|change चेंज|page पेज
wait वेट|free फ्री|type टाइप टाईप
"""

# spellings of `HINDI` and `MARATHI` that are also English words, names or brands: PAN card, main, Diya
_SAID_IN_ENGLISH_TOO = """
ab ap bas bata bol chai chay cheeni chini delhi der dilli din diya fir gay ha haa haidarabad ham han have he hee hi ho
hoy hu hum hun hyderabad iss jee ji kal kara kare kay ke kia kilo ko koi kon lie mai main mala maza maze mazi mere
mila mili muje naa namaste naya ne or pan par pata pese purana rahi rupay rupaye rupees rupye sab sahi samay sanga se
suno tak tha the thee to toh tu tum tuta udya use uss vala vali voh wo woh ya yah ye yeh zala
"""


def _lines(table: str) -> list[list[str]]:
    return [entry.split() for line in table.split("\n") for entry in line.split("|") if entry]


DEVANAGARI_OF = MappingProxyType(
    {roman: deva for table in (MARATHI, HINDI) for deva, *spellings in _lines(table) for roman in spellings}
)
ENGLISH_OF = MappingProxyType({deva: english for english, *spellings in _lines(ENGLISH) for deva in spellings})
ENGLISH_OR_NAMES = frozenset(_SAID_IN_ENGLISH_TOO.split())
