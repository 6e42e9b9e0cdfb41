"""What callers would say, each line written once, by hand, and never a row that trained: a second author of the corpus.

CLINIC and SHOP were looked at: the way in which a threshold is chosen was changed after them. UNSEEN_CLINIC and
UNSEEN_SHOP were written after that. Whoever changes the recipe may choose by the first and not by the second, or must
write new ones. `[value](entity)` marks an entity. Every line is a family of its own.
"""

from __future__ import annotations

import re
from typing import Any

from training.demo_intents.intent_corpus import TEST, LabelledUtterance

_MARK = re.compile(r"\[([^]]+)\]\((\w+)\)")

CLINIC = """
book_appointment
en: good morning i was hoping for a slot with doctor [Kulkarni](doctor) sometime [tomorrow](day)
en: does doctor [Mehta](doctor) have any free time this week
en: my father has fever since last night can somebody see him [tomorrow](day)
en: put me down for doctor [Patil](doctor) on [friday](day) evening
en: i would like to come in for a check up what time can you give me
hi: नमस्ते मुझे [मंगलवार](day) को डॉक्टर [राव](doctor) से मिलना है
hi: [कल](day) सुबह का कोई नंबर मिलेगा क्या दिखाने के लिए
hi: मेरा नाम लिख लीजिए डॉक्टर [मेहता](doctor) के पास आना है [शुक्रवार](day) को
hi: बच्चे को बुखार है आज ही डॉक्टर साहब को दिखाना पड़ेगा
hi-Latn: doctor [Joshi](doctor) se milna tha [monday](day) ko time mil jayega kya
hi-Latn: mummy ko dikhana hai koi khali slot ho to de dijiye
hi-Latn: ek number laga do doctor [Sharma](doctor) ke paas [sunday](day) ka
hi-Latn: pehli baar aa raha hoon appointment kaise milega
move_appointment
en: something came up can we push my visit with doctor [Rao](doctor) to [tuesday](day)
en: i am stuck at work today so please give me another day instead
en: i was coming at ten but can you make it [next week](day)
en: i had booked for [monday](day) but [friday](day) suits me better
en: is it alright if i come a little later than the time you gave me
hi: कल वाला अपॉइंटमेंट मैं नहीं ले पाऊँगा कोई और दिन दे दीजिए
hi: मेरा नंबर सुबह का है उसे शाम का करवा दीजिए
hi: डॉक्टर [पाटिल](doctor) वाली तारीख बदलकर [सोमवार](day) कर देंगे क्या
hi: शहर से बाहर हूँ इसलिए अपॉइंटमेंट [अगले हफ्ते](day) कर दीजिए
hi-Latn: kal nahi aa paungi mera time [friday](day) ko kar dijiye na
hi-Latn: doctor [Mehta](doctor) wali date thodi aage karwani thi
hi-Latn: jo appointment liya tha use [tuesday](day) mein badal do
hi-Latn: aaj late ho gaya hoon kya mera number shaam ko ho sakta hai
lab_report
en: i gave a sample for [sugar](test) two days back is the result out
en: could you mail me the results of the [cholesterol](test) test
en: nobody has called me about my [x-ray](test) yet
en: my blood was taken on monday do you have the report with you
en: how do i see my [thyroid](test) result online
hi: परसों खून दिया था उसका रिज़ल्ट आ गया क्या
hi: मेरे [एक्स-रे](test) की रिपोर्ट लेने कब आऊँ
hi: [कोविड](test) वाली जाँच का नतीजा व्हाट्सऐप पर भेज दीजिए
hi: तीन दिन हो गए [यूरिन](test) की रिपोर्ट नहीं आई
hi-Latn: papa ki [sugar](test) test ki report aa gayi kya
hi-Latn: report lene kab aana hai [thyroid](test) ka sample diya tha
hi-Latn: meri [x-ray](test) report whatsapp kar sakte hain aap
hi-Latn: abhi tak [cholesterol](test) ka result nahi aaya kitna time lagega
medicine_refill
en: i have run out of [insulin](medicine) can you send some more
en: only two tablets of [metformin](medicine) are left please give me a new strip
en: the doctor told me to continue [vitamin d](medicine) so i need another pack
en: can the pharmacy send my usual medicines home
en: my mother takes [aspirin](medicine) every day and it got over yesterday
hi: [इंसुलिन](medicine) आज खत्म हो जाएगी नई भिजवा दीजिए
hi: वही पुरानी दवाइयाँ दोबारा चाहिए जो पिछले महीने ली थीं
hi: [एस्पिरिन](medicine) का एक पत्ता और दे दीजिए
hi: मम्मी की [मेटफॉर्मिन](medicine) बस दो दिन की बची है
hi-Latn: [paracetamol](medicine) ka ek aur patta bhijwa dijiye
hi-Latn: bp ki goliyan bas kal tak ki hain dobara mangwani hain
hi-Latn: woh hi dawai repeat kar do jo last month li thi
hi-Latn: [vitamin d](medicine) wali dawa khatam hone wali hai nayi de do
opening_hours
en: are you people open on [sunday](day)
en: how late can i come today
en: from when to when do the doctors sit there
en: do you take a lunch break in between
en: is there anybody at the clinic after eight at night
hi: [रविवार](day) को आप लोग बैठते हैं क्या
hi: शाम को कितने बजे तक आ सकते हैं
hi: क्लिनिक दोपहर में भी चालू रहता है क्या
hi: सुबह सबसे पहले कितने बजे आऊँ
hi-Latn: [sunday](day) ko chhutti rehti hai kya aapke yahan
hi-Latn: raat ko kab tak baithte hain doctor
hi-Latn: aaj clinic chalu hai na
hi-Latn: subah kitne baje se log aa sakte hain
consultation_fee
en: how much will it cost me to see doctor [Sharma](doctor)
en: what do you charge for an [x-ray](test)
en: is it still [500 rupees](amount) per visit
en: do i have to pay again if i come within a week
en: what would a [thyroid](test) test come to
hi: डॉक्टर [जोशी](doctor) को दिखाने में कितने पैसे लगेंगे
hi: [शुगर](test) की जाँच कितने में हो जाएगी
hi: पहली बार आने पर कितना देना पड़ता है
hi: फीस अभी भी [500 रुपये](amount) ही है ना
hi-Latn: doctor [Rao](doctor) ek baar dekhne ka kitna lete hain
hi-Latn: [covid](test) test karane mein kitna kharcha aayega
hi-Latn: dobara aaunga to phir se paise dene padenge kya
hi-Latn: [800 rupees](amount) se zyada to nahi hai na fees
"""

SHOP = """
order_status
en: i ordered a [kettle](item) last week and nothing has turned up so far
en: could you check how far order [KA5521](order) has reached
hi: जो [पंखा](item) मँगवाया था वो अभी रास्ते में है क्या
hi-Latn: mera saman kab se atka hua hai zara dekh ke batao
mr: ऑर्डर [7710](order) सध्या कुठपर्यंत आली
cancel_order
en: i found the [watch](item) cheaper elsewhere so please drop my order
en: do not send order [KA9012](order) i ordered it by mistake
hi: गलती से दो बार ऑर्डर हो गया एक कैंसिल करवा दीजिए
hi-Latn: [joote](item) ka order hata do ab zaroorat nahi hai
mr: [केतली](item) ची ऑर्डर नको ती रद्द करून टाका
refund_status
en: you took the [chair](item) back ten days ago but i have not been paid
en: by what date does the [799 rupees](amount) come back into my account
hi: सामान लौटाए दो हफ्ते हो गए पैसे खाते में नहीं आए
hi-Latn: return kar diya tha uske [2500 rs](amount) kab milenge
mr: परत केलेल्या वस्तूचे पैसे खात्यात कधी जमा होतील
return_item
en: the [blue shirt](item) does not fit me so i want to give it back
en: somebody should come and collect this faulty [fan](item)
hi: [जूते](item) छोटे पड़ रहे हैं वापस ले जाइए
hi-Latn: jo [kettle](item) bheji hai wo chal nahi rahi isko wapas le jao
mr: माझे [घड्याळ](item) बंद पडले आहे ते परत घेऊन जा
change_address
en: i shifted house last month so please deliver to [Thane](city)
en: you have the old flat number for my order can it be corrected
hi: घर बदल लिया है सामान अब [इंदौर](city) वाले पते पर भेजिए
hi-Latn: pata galat likh diya tha sahi karwana hai
mr: मी आता [नागपूर](city) ला राहतो तिकडचा पत्ता लिहा
payment_failed
en: my account shows [1200 rupees](amount) gone but your site says unpaid
en: i tried three times with my card and it keeps getting declined
hi: खाते से [500 रुपये](amount) निकल गए और ऑर्डर बना ही नहीं
hi-Latn: google pay se bheja tha par aapke yahan payment nahi dikh raha
mr: खात्यातून [250 रुपये](amount) गेले पण पेमेंट झालेच नाही
price_question
en: what are you charging for that [red kurta](item) these days
en: could i get the [mixer](item) for less than [2500 rs](amount)
hi: ये [कुर्सी](item) कितने रुपये में देंगे
hi-Latn: [bed sheet](item) ka rate kya chal raha hai
mr: [पंखा](item) केवढ्याला देता
stock_question
en: are there any [shoes](item) left in size nine
en: can i still get a [water bottle](item) from you
hi: [चादर](item) बची है या खत्म हो गई
hi-Latn: [fan](item) abhi mil sakta hai kya aapke yahan
mr: [मिक्सर](item) शिल्लक आहे की संपला
delivery_time
en: if i order the [chair](item) now when would i get it
en: i am only at home on [sunday](day) can you bring it then
hi: अभी मँगवाऊँ तो [साड़ी](item) कब तक पहुँचेगी
hi-Latn: [friday](day) se pehle saman mil jayega na
mr: [रविवार](day) च्या आत सामान पोहोचेल का
talk_to_agent
en: i do not want to speak to a machine get me someone
en: is there any staff member i can talk with
hi: मशीन से नहीं किसी समझदार आदमी से बात करवाइए
hi-Latn: apne senior se baat karwa do please
mr: मला तुमच्या साहेबांशी बोलायचं आहे
confirm_yes
en: yeah that sounds good
en: absolutely go on
hi: हाँ बिल्कुल कर दो
hi-Latn: haan wahi wala
mr: हो अगदी बरोबर
deny_no
en: nope leave it as it is
en: not now thanks
hi: अरे नहीं वो नहीं
hi-Latn: nahi nahi aisa mat karna
mr: नाही तसं नको
none_of_these
en: which bus goes to the railway station
en: happy birthday to your little girl
hi: आज रात खाने में क्या बना है
hi-Latn: tum insaan ho ya robot
mr: तुमच्या गावाला पाऊस झाला का
"""

UNSEEN_CLINIC = """
book_appointment
en: is it possible to see doctor [Joshi](doctor) before the weekend
en: hi i need somebody to look at my knee when can i come
en: give me the earliest turn you have [tomorrow](day)
en: could you keep a place for my wife with doctor [Rao](doctor)
hi: डॉक्टर [शर्मा](doctor) आज बैठे हैं तो मेरा भी नंबर लगा दीजिए
hi: दादी की आँखें दिखानी हैं कब ले आऊँ
hi: [सोमवार](day) की सुबह कोई जगह खाली हो तो बता दीजिए
hi-Latn: mujhe skin wale doctor ko dikhana tha kab aa jaun
hi-Latn: [tuesday](day) shaam ka appointment de sakte ho kya doctor [Patil](doctor) ka
hi-Latn: papa ke liye doctor [Kulkarni](doctor) ka number chahiye tha
hi-Latn: check up karwana hai kis din aana theek rahega
move_appointment
en: my meeting got extended so i will have to come on [friday](day) instead
en: please swap my morning appointment for an evening one
en: doctor [Patil](doctor) was seeing me [tomorrow](day) but i am travelling can we pick a new date
en: i know i booked for today but could we do it [next week](day)
hi: बारिश की वजह से आज नहीं निकल पा रहा अपॉइंटमेंट [कल](day) कर दीजिए
hi: जो तारीख दी थी उस दिन शादी है कोई दूसरी तारीख दे दीजिए
hi: डॉक्टर [राव](doctor) के साथ मेरा समय थोड़ा पीछे खिसका दीजिए
hi-Latn: mera appointment do din aage kar sakte hain kya
hi-Latn: [monday](day) wala cancel nahi karna bas [tuesday](day) kar do
hi-Latn: subah ki jagah dopahar ka time de do mujhe
hi-Latn: doctor [Joshi](doctor) ke saath jo time fix hua tha wo badalna hai
lab_report
en: has anything come back from my [urine](test) test
en: the lab said two days and it has been four where is my report
en: can my son pick up my [x-ray](test) film and report
en: please tell me if my [covid](test) came out negative
hi: [थायरॉइड](test) का टेस्ट करवाया था उसका क्या हुआ
hi: मेरी सारी जाँच की रिपोर्ट ईमेल कर सकते हैं क्या
hi: [कोलेस्ट्रॉल](test) कितना निकला रिपोर्ट में देखकर बताइए
hi-Latn: kal jo khoon diya tha uski report bani kya
hi-Latn: [urine](test) ki jaanch ka result kab milega
hi-Latn: report mobile par mangwa sakte hain kya
hi-Latn: meri [thyroid](test) ki report kisi aur ko mat dena main khud aaunga kab ready hogi
medicine_refill
en: i have just one day of [insulin](medicine) left with me
en: same tablets as last time please i need them for the next month
en: the strip of [paracetamol](medicine) is empty can you pack another one
en: could you arrange a repeat of my pressure medicines
hi: [पैरासिटामोल](medicine) घर में बिल्कुल नहीं बची एक पत्ता दे दीजिए
hi: शुगर की गोलियाँ फिर से लेनी हैं वही वाली
hi: पिछली पर्ची की दवाइयाँ एक बार और दे दीजिए
hi-Latn: [metformin](medicine) khatam ho rahi hai do mahine ki de dena
hi-Latn: dadi ki dawaiyan dobara bhejni hain wahi purani
hi-Latn: [aspirin](medicine) aur chahiye ghar par bilkul nahi hai
hi-Latn: doctor ne kaha tha [insulin](medicine) chalu rakhna to ek aur de do
opening_hours
en: is it too late to walk in now
en: which days are you shut
en: will i find you open at seven in the morning
en: till when are you there on [friday](day)
hi: आप लोग सुबह कब से शुरू करते हैं
hi: [शुक्रवार](day) को शाम सात बजे खुला मिलेगा
hi: होली वाले दिन क्लिनिक बंद रहेगा क्या
hi-Latn: abhi aa jaun to khula milega
hi-Latn: hafte mein kaun se din band rehta hai
hi-Latn: lunch ke time bhi khula rehta hai clinic
hi-Latn: [tuesday](day) ko kab tak milenge aap log
consultation_fee
en: before i come tell me what doctor [Patil](doctor) takes for one sitting
en: is the [sugar](test) test expensive
en: how much money should i carry for the visit
en: are the rates different for a follow up
hi: डॉक्टर [कुलकर्णी](doctor) एक बार के कितने लेते हैं
hi: [एक्स-रे](test) करवाने का क्या रेट है
hi: बच्चों की फीस कम होती है क्या
hi-Latn: doctor sahab ko dikhane ka kya charge hai
hi-Latn: [urine](test) test kitne mein ho jata hai
hi-Latn: kitne paise leke aaun checkup ke liye
hi-Latn: online milne ki fees alag hai kya
"""

UNSEEN_SHOP = """
order_status
en: has my [phone](item) left the warehouse or not
hi: दस दिन से बैठा हूँ [चादर](item) का कुछ पता नहीं
hi-Latn: [KA3310](order) pahunchne wala hai ya nahi
mr: मागवलेला [फोन](item) कुठवर पोहोचला
cancel_order
en: please stop the [bed sheet](item) from being sent i got one as a gift
hi: ऑर्डर [4471](order) मत भेजना मुझे नहीं लेना
hi-Latn: kal jo mangwaya tha wo rehne do order band kar do
mr: काल केलेली ऑर्डर मला नको थांबवा
refund_status
en: it has been three weeks and my [1200 rupees](amount) are still with you
hi: आपने कहा था पाँच दिन में पैसे लौट आएँगे अब तक नहीं आए
hi-Latn: mera paisa account mein wapas aaya ki nahi check karo
mr: तुम्ही पैसे परत करणार होतात ते कधी देणार
return_item
en: the zip on these [shoes](item) is torn come and pick them up
hi: [मिक्सर](item) आवाज़ कर रहा है इसे लौटाना चाहता हूँ
hi-Latn: size galat aa gaya [blue shirt](item) ka badal ke wapas lo
mr: [साड़ी](item) चा रंग वेगळा आला ती परत पाठवायची आहे
change_address
en: send it to my office in [Pune](city) and not to my home
hi: मकान नंबर गलत चला गया था उसे ठीक कर दीजिए
hi-Latn: ab saman [Jaipur](city) wale ghar par bhejna
mr: घराचा नंबर चुकला आहे पत्ता दुरुस्त करा
payment_failed
en: the page froze while i was paying and now [799 rupees](amount) are gone
hi: दो बार [1200 रुपये](amount) कट गए एक बार ही कटने चाहिए थे
hi-Latn: card lagaya to error aa raha hai baar baar
mr: पैसे भरताना एरर येतो आहे
price_question
en: what would two of the [chair](item) come to
hi: [केतली](item) सबसे सस्ती कितने की मिलेगी
hi-Latn: [watch](item) ka daam kuch kam hoga kya
mr: ह्या [घड्याळ](item) चा भाव काय
stock_question
en: did the [red kurta](item) come back or is it sold out
hi: आपकी दुकान में [लाल कुर्ता](item) मिल जाएगा
hi-Latn: [mixer](item) rakhte ho kya aap log
mr: [चादर](item) मिळते का तुमच्या दुकानात
delivery_time
en: would it get here before [next week](day)
hi: [सोमवार](day) को मैं घर पर नहीं हूँ मंगल को ला सकते हैं क्या
hi-Latn: aaj order karun to kitne din lagenge
mr: आज मागवलं तर किती दिवसांत येईल
talk_to_agent
en: put a real human being on the line
hi: किसी बड़े अफसर से बात करवा दीजिए
hi-Latn: kisi insaan ko phone do yaar
mr: माणूस द्या फोनवर मशीन नको
confirm_yes
en: okay fine do that
hi: ठीक है भेज दीजिए
hi-Latn: haan bhai kar do
mr: हो चालेल तसंच करा
deny_no
en: no no i did not ask for that
hi: नहीं चाहिए रहने दीजिए
hi-Latn: mana kar diya na nahi karna
mr: अजिबात नको
none_of_these
en: can you recommend a good film
hi: मेरी बिल्ली खो गई है
hi-Latn: petrol ka bhav kya chal raha hai aaj
mr: तुमचे लग्न झाले आहे का
"""


def utterances(lines: str) -> list[LabelledUtterance]:
    """Of one of the texts above."""
    found: list[LabelledUtterance] = []
    intent = ""
    for line in lines.strip().splitlines():
        way, separator, marked = line.partition(": ")
        if not separator:
            intent = line
            continue
        text, entities = plain(marked)
        name = f"{intent}-{len(found)}"
        found.append(
            LabelledUtterance(
                name, text, intent, way.partition("-")[0],
                "Latn" if way in ("en", "hi-Latn") else "Deva", name, TEST, "human",
                tuple(entities),
            )
        )  # fmt: skip
    return found


def plain(marked: str) -> tuple[str, list[dict[str, Any]]]:
    """A marked line -> its text, and where its entities are."""
    text, entities, at = "", [], 0
    for mark in _MARK.finditer(marked):
        text += marked[at : mark.start()]
        value, entity = mark.groups()
        entities.append({"entity": entity, "start": len(text), "end": len(text) + len(value), "value": value})
        text, at = text + value, mark.end()
    return text + marked[at:], entities
