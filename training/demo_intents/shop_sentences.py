"""What callers of an imaginary shop and of a clinic say, by intent and way of writing. Written for this project.

Ways: en, hi (Devanagari), hi-Latn (Hinglish in Roman letters), mr; wordings stand between slashes. A `{slot}` takes a
value of SLOTS and becomes an entity. The wordings of one intent differ as people's do, so a test that holds out whole
wordings asks for their meaning.
"""

from __future__ import annotations

SHOP = """
order_status
en: where is my order {order} / what is the status of order {order} / my order {order} has not come yet /
    has the {item} been shipped / track my {item} please / any update on my order /
    can you tell me where my parcel is now / i am still waiting for my {item} order
hi: मेरा ऑर्डर {order} कहाँ है / ऑर्डर {order} का स्टेटस बताइए / मेरा {item} अभी तक नहीं आया /
    क्या मेरा {item} भेज दिया गया है / मेरे पार्सल का कोई अपडेट है / ऑर्डर कहाँ तक पहुँचा बता दीजिए
hi-Latn: mera order {order} kahan hai / order {order} ka status batao / mera {item} abhi tak nahi aaya /
    kya mera {item} ship ho gaya / parcel ka koi update hai kya / order kahan tak pahuncha bata do
mr: माझी ऑर्डर {order} कुठे आहे / ऑर्डर {order} चे स्टेटस सांगा / माझे {item} अजून आले नाही /
    माझे पार्सल कुठे आहे
cancel_order
en: cancel my order {order} / i want to cancel the {item} / please cancel order {order} /
    i do not want the {item} any more cancel it / can i cancel my order /
    stop my order {order} i have changed my mind / kindly cancel the order i placed for the {item} /
    cancel it i no longer need the order
hi: मेरा ऑर्डर {order} कैंसिल कर दीजिए / मुझे {item} कैंसिल करना है / ऑर्डर {order} रद्द कर दो /
    मुझे अब {item} नहीं चाहिए कैंसिल करो / क्या ऑर्डर कैंसिल हो सकता है / ऑर्डर रद्द करना है मेरा मन बदल गया
hi-Latn: mera order {order} cancel kar dijiye / mujhe {item} cancel karna hai / order {order} radd kar do /
    ab {item} nahi chahiye cancel karo / kya order cancel ho sakta hai /
    order cancel kar do mera man badal gaya
mr: माझी ऑर्डर {order} रद्द करा / मला {item} कॅन्सल करायचे आहे / ऑर्डर रद्द करायची आहे /
    मला {item} नको ऑर्डर कॅन्सल करा
refund_status
en: when will i get my refund / where is my refund of {amount} / my refund of {amount} has not come /
    refund status for order {order} / how long does a refund take / i am waiting for my money back /
    has the refund for the {item} been made / the money {amount} was not refunded yet
hi: मेरा रिफंड कब आएगा / {amount} का रिफंड कहाँ है / मेरे {amount} वापस नहीं आए /
    ऑर्डर {order} का रिफंड स्टेटस बताइए / रिफंड में कितना समय लगता है / मेरे पैसे वापस कब मिलेंगे
hi-Latn: mera refund kab aayega / {amount} ka refund kahan hai / mere {amount} wapas nahi aaye /
    order {order} ka refund status batao / refund mein kitna time lagta hai / mere paise wapas kab milenge
mr: माझा रिफंड कधी येईल / {amount} चा रिफंड कुठे आहे / माझे पैसे परत कधी मिळतील / रिफंड अजून आला नाही
return_item
en: i want to return the {item} / how do i return the {item} / the {item} is broken i want to send it back /
    please arrange a return pickup for the {item} / return the {item} of order {order} /
    i received a wrong {item} take it back / can you pick up the {item} i am returning it /
    i would like to give the damaged {item} back
hi: मुझे {item} वापस करना है / {item} कैसे वापस करूँ / {item} टूटा हुआ है वापस ले लो /
    {item} की रिटर्न पिकअप करवा दो / गलत {item} आया है वापस ले जाइए / {item} लौटाना है खराब निकला
hi-Latn: mujhe {item} wapas karna hai / {item} return kaise karun / {item} toota hua hai wapas le lo /
    {item} ki return pickup karwa do / galat {item} aaya hai wapas le jaiye /
    {item} lautana hai kharab nikla
mr: मला {item} परत करायचे आहे / {item} तुटलेले आहे परत घ्या / चुकीचे {item} आले परत न्या /
    {item} परत कसे करू
change_address
en: change my delivery address to {city} / i want to change the address / please send it to {city} instead /
    my address is wrong / update the address of order {order} / i have moved to {city} change the address /
    the delivery address should be {city} / can you correct the address on my order
hi: मेरा पता बदलकर {city} कर दीजिए / मुझे डिलीवरी का पता बदलना है / इसे {city} भेज दीजिए / मेरा पता गलत है /
    ऑर्डर {order} का पता बदल दो / अब मैं {city} में रहता हूँ पता बदलो
hi-Latn: mera pata badal kar {city} kar do / mujhe delivery address change karna hai /
    ise {city} bhej dijiye / mera address galat hai / order {order} ka address badal do /
    ab main {city} mein rehta hoon address badlo
mr: माझा पत्ता बदलून {city} करा / मला डिलिव्हरीचा पत्ता बदलायचा आहे / माझा पत्ता चुकीचा आहे /
    पार्सल {city} ला पाठवा
payment_failed
en: my payment failed / i paid {amount} but the payment failed / payment of {amount} was deducted twice /
    money was cut but there is no order / the card payment is not going through /
    upi payment of {amount} failed / {amount} was debited and the payment shows failed /
    payment error while paying for the {item}
hi: मेरा पेमेंट फेल हो गया / {amount} कट गए पर ऑर्डर नहीं हुआ / {amount} का पेमेंट दो बार कट गया /
    कार्ड से पेमेंट नहीं हो रहा / यूपीआई पेमेंट फेल हो गया / पैसे कट गए पेमेंट फेल दिखा रहा है
hi-Latn: mera payment fail ho gaya / {amount} kat gaye par order nahi hua /
    {amount} ka payment do baar kat gaya / card se payment nahi ho raha / upi payment fail ho gaya /
    paise kat gaye payment fail dikha raha hai
mr: माझे पेमेंट फेल झाले / {amount} कापले पण ऑर्डर झाली नाही / पेमेंट होत नाही / पेमेंट दोनदा कापले {amount}
price_question
en: what is the price of the {item} / how much is the {item} / how much does the {item} cost /
    tell me the price of the {item} / is the {item} under {amount} / any discount on the {item} /
    what does the {item} cost today / price for the {item} please
hi: {item} की कीमत क्या है / {item} कितने का है / {item} का दाम बताइए / क्या {item} {amount} से कम है /
    {item} पर कोई छूट है / {item} की कीमत बता दो
hi-Latn: {item} ki keemat kya hai / {item} kitne ka hai / {item} ka daam batao /
    kya {item} {amount} se kam hai / {item} par koi discount hai / {item} ka price bata do
mr: {item} ची किंमत काय आहे / {item} कितीला आहे / {item} वर सूट आहे का / {item} ची किंमत सांगा
stock_question
en: do you have the {item} / is the {item} in stock / is the {item} available /
    when will the {item} be available again / do you sell the {item} in {city} /
    i am looking for the {item} do you have it / is the {item} still available in your shop /
    have you got any {item} in stock
hi: क्या आपके पास {item} है / {item} स्टॉक में है क्या / {item} मिलेगा क्या / {item} फिर कब उपलब्ध होगा /
    क्या {item} {city} में मिलता है / {item} उपलब्ध है क्या
hi-Latn: kya aapke paas {item} hai / {item} stock mein hai kya / {item} milega kya /
    {item} phir kab available hoga / kya {item} {city} mein milta hai / {item} available hai kya
mr: तुमच्याकडे {item} आहे का / {item} स्टॉकमध्ये आहे का / {item} मिळेल का / {item} उपलब्ध आहे का
delivery_time
en: when will the {item} be delivered / will it be delivered by {day} / how many days for delivery to {city} /
    can you deliver on {day} / deliver my order on {day} please / what time will the delivery come /
    is delivery possible on {day} / how soon can the {item} be delivered
hi: {item} की डिलीवरी कब होगी / क्या {day} तक डिलीवरी हो जाएगी / {city} में डिलीवरी कितने दिन में होगी /
    {day} को डिलीवरी कर दो / डिलीवरी कितने बजे आएगी / क्या {day} को डिलीवर हो सकता है
hi-Latn: {item} ki delivery kab hogi / kya {day} tak delivery ho jayegi /
    {city} mein delivery kitne din mein hogi / {day} ko delivery kar do / delivery kitne baje aayegi /
    kya {day} ko deliver ho sakta hai
mr: {item} ची डिलिव्हरी कधी होईल / {day} पर्यंत डिलिव्हरी होईल का / {day} ला डिलिव्हरी करा /
    डिलिव्हरी किती वाजता येईल
talk_to_agent
en: i want to talk to an agent / connect me to a person / let me speak to customer care /
    transfer the call to your manager / i want to speak to a human / give me a real person please /
    can i talk to somebody in customer care / please connect me with an agent
hi: मुझे एजेंट से बात करनी है / किसी आदमी से बात कराइए / कस्टमर केयर से बात कराओ / मैनेजर को कॉल दीजिए /
    मुझे इंसान से बात करनी है / कॉल एजेंट को ट्रांसफर करो
hi-Latn: mujhe agent se baat karni hai / kisi aadmi se baat karao / customer care se baat karao /
    manager ko call dijiye / mujhe insaan se baat karni hai / call agent ko transfer karo
mr: मला एजंटशी बोलायचे आहे / कस्टमर केअरला जोडा / माणसाशी बोलायचे आहे / मॅनेजरशी बोलू द्या
confirm_yes
en: yes / yes please / yes that is right / okay go ahead / sure do it / correct / yes okay /
    right please do it
hi: हाँ / जी हाँ / हाँ ठीक है / हाँ कर दीजिए / सही है / हाँ जी बिल्कुल
hi-Latn: haan / ji haan / haan theek hai / haan kar dijiye / sahi hai / haan ji bilkul
mr: हो / हो बरोबर / हो चालेल / ठीक आहे करा
deny_no
en: no / no thank you / no that is wrong / do not do it / no leave it / not correct / no please do not /
    wrong leave it
hi: नहीं / जी नहीं / नहीं यह गलत है / मत करो / नहीं रहने दो / नहीं मत कीजिए
hi-Latn: nahi / ji nahi / nahi yeh galat hai / mat karo / nahi rehne do / nahi mat kijiye
mr: नाही / नको / नाही चुकीचे आहे / नको राहू द्या
none_of_these
en: what is the weather today / who won the cricket match / tell me a joke / sing a song for me /
    i want to book a train ticket / what is the capital of france / how is your mother / play some music /
    can you help with my homework / my dog likes the rain / turn off the light /
    the sun is very hot in {city} / what time is it / who are you
hi: आज मौसम कैसा है / मैच किसने जीता / एक चुटकुला सुनाओ / कोई गाना गाओ / ट्रेन का टिकट बुक करना है /
    आपका नाम क्या है / बारिश हो रही है / खाना बना लिया क्या / लाइट बंद करो / {city} में गर्मी बहुत है
hi-Latn: aaj mausam kaisa hai / match kisne jeeta / ek joke sunao / koi gaana gao /
    train ka ticket book karna hai / aapka naam kya hai / baarish ho rahi hai / khana bana liya kya /
    light band karo / {city} mein garmi bahut hai
mr: आज हवामान कसे आहे / सामना कोणी जिंकला / एक विनोद सांगा / पाऊस पडत आहे
"""

CLINIC = """
book_appointment
en: i want an appointment with doctor {doctor} / book an appointment on {day} /
    can doctor {doctor} see me on {day} / fix an appointment for a check up / i need to see doctor {doctor} /
    make an appointment with doctor {doctor} for {day} / please book me an appointment with a doctor
hi: डॉक्टर {doctor} से अपॉइंटमेंट चाहिए / {day} का अपॉइंटमेंट बुक कर दीजिए /
    डॉक्टर {doctor} {day} को देखेंगे क्या / मुझे डॉक्टर को दिखाना है /
    डॉक्टर {doctor} का अपॉइंटमेंट बुक करना है
hi-Latn: doctor {doctor} se appointment chahiye / {day} ka appointment book kar do /
    doctor {doctor} {day} ko dekhenge kya / mujhe doctor ko dikhana hai /
    doctor {doctor} ka appointment book karna hai
move_appointment
en: move my appointment to {day} / i cannot come on {day} change the appointment /
    reschedule my appointment with doctor {doctor} / shift the appointment to {day} /
    i want a later appointment / can my appointment be moved to {day} /
    please shift my appointment with doctor {doctor}
hi: मेरा अपॉइंटमेंट {day} को कर दीजिए / मैं {day} को नहीं आ सकता अपॉइंटमेंट आगे बढ़ा दो /
    अपॉइंटमेंट का समय बदलना है / अपॉइंटमेंट {day} को शिफ्ट कर दो / अपॉइंटमेंट {day} तक आगे बढ़ाना है
hi-Latn: mera appointment {day} ko kar do / main {day} ko nahi aa sakta appointment aage badha do /
    appointment ka time badalna hai / appointment {day} ko shift kar do /
    appointment {day} tak aage badhana hai
lab_report
en: is my {test} report ready / when will the {test} report come / send me the {test} report /
    where is my blood report / i have not got my {test} report / has the report of the {test} come /
    please share my {test} report
hi: मेरी {test} रिपोर्ट तैयार है क्या / {test} की रिपोर्ट कब आएगी / {test} की रिपोर्ट भेज दीजिए /
    मेरी खून की रिपोर्ट कहाँ है / {test} रिपोर्ट अभी नहीं मिली
hi-Latn: meri {test} report taiyar hai kya / {test} ki report kab aayegi / {test} ki report bhej do /
    meri khoon ki report kahan hai / {test} report abhi nahi mili
medicine_refill
en: i need my medicine again / refill my {medicine} / send me {medicine} for one month /
    my {medicine} tablets are finished / renew the prescription for {medicine} /
    can i get more {medicine} tablets / please refill the prescription of {medicine}
hi: मेरी दवा खत्म हो गई / {medicine} फिर से भेज दीजिए / एक महीने की {medicine} दवा चाहिए /
    {medicine} की गोली खत्म है / मुझे {medicine} दवा और चाहिए
hi-Latn: meri dawa khatam ho gayi / {medicine} phir se bhej do / ek mahine ki {medicine} dawa chahiye /
    {medicine} ki goli khatam hai / mujhe {medicine} dawa aur chahiye
opening_hours
en: when does the clinic open / is the clinic open on {day} / till what time is the clinic open /
    clinic timings please / at what time do you close on {day} / what are the timings of the clinic on {day} /
    is your clinic closed on {day}
hi: क्लिनिक कब खुलता है / क्या क्लिनिक {day} को खुला है / क्लिनिक कितने बजे तक खुला है /
    क्लिनिक का समय बताइए / क्लिनिक {day} को कितने बजे बंद होता है
hi-Latn: clinic kab khulta hai / kya clinic {day} ko khula hai / clinic kitne baje tak khula hai /
    clinic ka time batao / clinic {day} ko kitne baje band hota hai
consultation_fee
en: what is the fee of doctor {doctor} / how much is the consultation / is the fee {amount} /
    what are the charges for a {test} / how much do i pay for doctor {doctor} /
    what is the consultation fee of the doctor / tell me the charges of the {test}
hi: डॉक्टर {doctor} की फीस क्या है / कंसल्टेशन की फीस कितनी है / क्या फीस {amount} है /
    {test} का चार्ज कितना है / डॉक्टर {doctor} कितनी फीस लेते हैं
hi-Latn: doctor {doctor} ki fees kya hai / consultation ki fees kitni hai / kya fees {amount} hai /
    {test} ka charge kitna hai / doctor {doctor} kitni fees lete hain
"""

SLOTS = {
    "item": {
        "Latn": "saree, mixer, phone, shoes, red kurta, water bottle, chair, fan, watch, blue shirt, bed sheet, kettle",
        "Deva": "साड़ी, मिक्सर, फोन, जूते, लाल कुर्ता, पानी की बोतल, कुर्सी, पंखा, घड़ी, नीली शर्ट, चादर, केतली",
    },
    "order": {"Latn": "KA{n}, {n}", "Deva": "{n}, KA{n}, {d}"},
    "amount": {"Latn": "{r} rupees, ₹{r}, rs {r}, {r} rs", "Deva": "{r} रुपये, ₹{r}, {x} रुपये"},
    "city": {
        "Latn": "Pune, Mumbai, Delhi, Nagpur, Jaipur, Thane, Indore, New Delhi, Kochi",
        "Deva": "पुणे, मुंबई, दिल्ली, नागपुर, जयपुर, ठाणे, इंदौर, नई दिल्ली, कोच्चि",
    },
    "day": {
        "Latn": "monday, tuesday, friday, tomorrow, sunday, 5 march, next week",
        "Deva": "सोमवार, मंगलवार, शुक्रवार, कल, रविवार, 5 मार्च, अगले हफ्ते",
    },
    "doctor": {
        "Latn": "Sharma, Joshi, Patil, Rao, Mehta, Kulkarni",
        "Deva": "शर्मा, जोशी, पाटिल, राव, मेहता, कुलकर्णी",
    },
    "test": {
        "Latn": "thyroid, sugar, urine, x-ray, covid, cholesterol",
        "Deva": "थायरॉइड, शुगर, यूरिन, एक्स-रे, कोविड, कोलेस्ट्रॉल",
    },
    "medicine": {
        "Latn": "metformin, paracetamol, insulin, vitamin d, aspirin",
        "Deva": "मेटफॉर्मिन, पैरासिटामोल, इंसुलिन, विटामिन डी, एस्पिरिन",
    },
}

BEFORE = {
    "en": "hello, hi, please, excuse me, sir, hello madam, actually",
    "hi": "हेलो, नमस्ते, सुनिए, भैया, जी, अच्छा, देखिए",
    "hi-Latn": "hello, namaste, suniye, bhaiya, ji, accha, dekhiye",
    "mr": "हॅलो, नमस्कार, ऐका, दादा, अहो",
}
AFTER = {
    "en": "please, thank you, as soon as possible, sir, okay, 🙏",
    "hi": "प्लीज़, जल्दी, धन्यवाद, जी, भैया, 🙏",
    "hi-Latn": "please, jaldi, dhanyavaad, ji, bhaiya, 🙏",
    "mr": "प्लीज, लवकर, धन्यवाद, दादा",
}
