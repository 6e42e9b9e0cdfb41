"""The words of the synthetic calls: templates, slot values, numbers. Data, with one function for amounts."""

# fmt: off
import random

ENGLISH = [
    "Hello, how can I help you today?", "Good morning, thank you for calling.", "Please stay on the line.",
    "Can you hear me?", "I will check that for you.", "Is there anything else?", "Thank you for your time.",
    "Have a nice day.", "Yes, that is correct.", "No, that is wrong.", "Please repeat that.", "One moment please.",
    "I am not happy with the service.", "The payment did not go through.", "I did not get any message.",
    "My order number is {digits}.", "The order number is {digits}.", "My phone number is {digits}.",
    "The tracking number is {digits}.", "The code is {digits}.", "Your account number is {digits}.",
    "I want to buy {count} {item}.", "I want to order {count} {item}.", "Please send me {count} {item}.",
    "Please add {count} {item} to my order.", "I received the wrong {item}.", "The {item} is broken.",
    "The {item} did not arrive.", "Where is my {item}?", "How much is the {item}?", "Do you have the {item}?",
    "Please cancel my order for the {item}.", "I want to return the {item}.", "I want a refund for the {item}.",
    "The {item} costs {amount}.", "The total is {amount}.", "You have to pay {amount}.", "I paid {amount} on {day}.",
    "The refund of {amount} will come on {day}.", "My name is {name}.", "This is {name} from {city}.",
    "I am calling from {city}.", "Please deliver it to {city}.", "Your order will arrive on {day}.",
    "Your order will arrive on {day} in the {time}.", "Please call me on {day} {time}.",
    "Can you deliver it on {day}?", "Can you call me in the {time}?", "When will my order arrive?",
    "I am waiting since {day}.", "The delivery is late.", "Please change my address.", "My new address is in {city}.",
    "Your order was sent to {city} on {day}.", "I want to speak to {name}.", "{name} will call you on {day}.",
    "Please pay {amount} before {day}.", "We will send the {item} on {day}.", "Your refund is ready.",
    "The price of the {item} is {amount}.", "I need {count} {item} in {city}.", "Is the {item} ready?",
]

HINDI = [
    "नमस्ते मैं आपकी क्या मदद कर सकता हूँ?", "नमस्ते बताइए क्या बात है?", "कृपया लाइन पर रहिए।", "एक मिनट रुकिए।",
    "क्या आप मुझे सुन सकते हैं?", "मैं अभी देखता हूँ।", "और कुछ चाहिए?", "आपका बहुत धन्यवाद।", "आपका दिन अच्छा रहे।",
    "हाँ यह सही है।", "नहीं यह गलत है।", "कृपया फिर से बोलिए।", "मुझे कोई संदेश नहीं मिला।", "मैं बहुत परेशान हूँ।",
    "मेरा सामान अभी तक नहीं आया।", "मेरा पैसा वापस नहीं आया।", "सामान कब आएगा?",
    "मेरा नंबर {digits} है।", "मेरा खाता नंबर {digits} है।", "आपका नंबर {digits} है।", "कोड {digits} है।",
    "मुझे {count} {item} चाहिए।", "मुझे {city} में {count} {item} चाहिए।", "कृपया {count} {item} भेज दीजिए।",
    "मुझे गलत {item} मिला है।", "{item} टूटा हुआ है।", "{item} अभी तक नहीं आया।", "मेरा {item} कहाँ है?",
    "{item} का दाम क्या है?", "क्या आपके पास {item} है?", "मुझे {item} वापस करना है।", "{item} का दाम {amount} है।",
    "कुल {amount} हुए।", "आपको {amount} देने हैं।", "मैंने {day} को {amount} दिए थे।", "{amount} {day} को वापस आएंगे।",
    "मेरा नाम {name} है।", "मैं {city} से {name} बोल रहा हूँ।", "मैं {city} से बोल रही हूँ।", "कृपया इसे {city} भेज दीजिए।",
    "आपका सामान {day} को आएगा।", "आपका सामान {day} को {time} आएगा।", "कृपया मुझे {day} को {time} फोन कीजिए।",
    "क्या आप {day} को भेज सकते हैं?", "मैं {day} से इंतज़ार कर रहा हूँ।", "मेरा पता बदल दीजिए।", "मेरा नया पता {city} में है।",
    "आपका सामान {day} को {city} भेजा गया था।", "मुझे {name} से बात करनी है।", "{name} आपको {day} को फोन करेंगे।",
    "कृपया {day} से पहले {amount} दे दीजिए।", "हम {day} को {item} भेजेंगे।", "क्या {item} तैयार है?",
]

HINDI_MIXED = [
    "मेरा order अभी तक नहीं पहुँचा है।", "मुझे refund कब मिलेगा?", "मेरा payment fail हो गया है।", "delivery बहुत late है।",
    "मुझे order cancel करना है।", "मेरा address change कर दीजिए।", "आपका refund process हो गया है।", "app काम नहीं कर रहा है।",
    "मुझे OTP नहीं मिला।", "क्या आप status check कर सकते हैं?", "मेरा account block हो गया है।", "कृपया line पर रहिए।",
    "मुझे customer care से बात करनी है।", "मुझे email पर bill भेज दीजिए।",
    "मेरा order number {digits} है।", "मेरा tracking number {digits} है।",
    "आपका account number {digits} है।", "OTP {digits} है।",
    "मेरा {item} का order कहाँ है?", "मुझे {item} का refund चाहिए।", "मुझे {item} return करना है।",
    "{item} का order cancel कर दीजिए।",
    "{item} की delivery {day} को होगी।", "आपकी delivery {day} को {time} होगी।", "मैंने {amount} का payment किया था।",
    "{amount} का refund {day} को मिलेगा।", "आपका payment {amount} का है।", "मेरा payment {day} को fail हो गया था।",
    "{city} में delivery कब होगी?", "मेरा नया address {city} में है।", "मैं {city} से {name} order के लिए call कर रहा हूँ।",
    "कृपया मुझे {day} को call कीजिए।", "{item} का price {amount} है।", "क्या {item} पर discount है?",
    "मेरा {item} damage हो गया है।",
    "मुझे {count} {item} online order करने हैं।", "आपका order {day} को {city} पहुँचेगा।", "मेरे wallet में {amount} हैं।",
    "मेरे account में refund नहीं आया।", "please मेरा order जल्दी भेज दीजिए।", "order का status क्या है?",
    "coupon code {digits} है।",
]

MARATHI = [
    "नमस्कार मी तुमची काय मदद करू?", "नमस्कार बोला काय झालं?", "कृपया थांबा।", "एक मिनिट थांबा।", "तुम्हाला ऐकू येतंय का?",
    "मी आता बघतो।", "आणखी काही हवं आहे का?", "तुमचे खूप आभार।", "तुमचा दिवस चांगला जावो।", "हो हे बरोबर आहे।",
    "नाही हे चूक आहे।", "कृपया पुन्हा सांगा।", "मला काही संदेश आला नाही।", "माझं सामान अजून आलं नाही।", "माझे पैसे परत आले नाहीत।",
    "सामान कधी येईल?", "मी खूप वेळ थांबलो आहे।",
    "माझा नंबर {digits} आहे।", "माझा खाते नंबर {digits} आहे।", "तुमचा नंबर {digits} आहे।", "कोड {digits} आहे।",
    "मला {count} {item} हवे आहेत।", "मला {city} मध्ये {count} {item} हवे आहेत।", "कृपया {count} {item} पाठवा।",
    "मला चुकीचा {item} मिळाला।", "{item} तुटला आहे।", "{item} अजून आला नाही।", "माझा {item} कुठे आहे?",
    "{item} ची किंमत काय आहे?", "तुमच्याकडे {item} आहे का?", "मला {item} परत करायचा आहे।", "{item} ची किंमत {amount} आहे।",
    "एकूण {amount} झाले।", "तुम्हाला {amount} द्यायचे आहेत।", "मी {day} {amount} दिले होते।", "{amount} {day} परत येतील।",
    "माझं नाव {name} आहे।", "मी {city} मधून {name} बोलतोय।", "मी {city} मधून बोलतेय।", "कृपया हे {city} ला पाठवा।",
    "तुमचं सामान {day} येईल।", "तुमचं सामान {day} {time} येईल।", "कृपया मला {day} {time} फोन करा।",
    "तुम्ही {day} पाठवू शकता का?", "मी {day} पासून वाट बघतोय।", "माझा पत्ता बदला।", "माझा नवीन पत्ता {city} मध्ये आहे।",
    "तुमचं सामान {day} {city} ला पाठवलं होतं।", "मला {name} शी बोलायचं आहे।", "{name} तुम्हाला {day} फोन करतील।",
    "कृपया {day} आधी {amount} द्या।", "आम्ही {day} {item} पाठवू।", "{item} तयार आहे का?", "माझी order कुठे आहे?",
    "मला refund हवा आहे।",
]

OPENINGS = {
    "en": ["Hello", "Yes", "No", "Okay", "Sir", "Please listen", "Hello sir", "Thank you", "Sorry", "Well"],
    "hi": ["जी", "हाँ", "नहीं", "देखिए", "हाँ जी", "सुनिए", "नमस्ते", "ठीक है", "माफ़ कीजिए", "अच्छा"],
    "mr": ["हो", "नाही", "बघा", "ऐका", "नमस्कार", "ठीक आहे", "माफ करा", "बरं"],
}

DIGITS = {
    "en": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "hi": ["शून्य", "एक", "दो", "तीन", "चार", "पाँच", "छह", "सात", "आठ", "नौ"],
    "mr": ["शून्य", "एक", "दोन", "तीन", "चार", "पाच", "सहा", "सात", "आठ", "नऊ"],
}

SLOTS = {
    "count": {"en": ["two", "three", "four", "five", "six", "ten"], "hi": ["दो", "तीन", "चार", "पाँच", "छह", "दस"],
              "mr": ["दोन", "तीन", "चार", "पाच", "सहा", "दहा"]},
    "item": {"en": ["mobile", "laptop", "shirt", "saree", "table fan", "mixer", "pressure cooker",
    "school bag", "wall clock",
                    "printer", "water bottle", "blanket", "keyboard", "charger", "sofa", "mirror"],
             "hi": ["मोबाइल", "लैपटॉप", "कुर्ता", "साड़ी", "पंखा", "मिक्सर", "कुकर", "बस्ता", "घड़ी", "प्रिंटर", "बोतल", "कंबल",
                    "जूता", "चार्जर", "कुर्सी", "शीशा"],
             "mr": ["मोबाईल", "लॅपटॉप", "कुर्ता", "साडी", "पंखा", "मिक्सर", "कुकर", "दप्तर", "घड्याळ", "प्रिंटर", "बाटली",
                    "चादर", "बूट", "चार्जर", "खुर्ची", "आरसा"]},
    "name": {"en": ["Asha", "Rahul", "Meera", "Suresh", "Kavita", "Vikram", "Anita", "Deepak"],
             "hi": ["आशा", "राहुल", "मीरा", "सुरेश", "कविता", "विक्रम", "अनीता", "दीपक"],
             "mr": ["आशा", "राहुल", "मीरा", "सुरेश", "कविता", "विक्रम", "अनिता", "दीपक"]},
    "city": {"en": ["Mumbai", "Delhi", "Pune", "Nagpur", "Jaipur", "Indore", "Nashik", "Lucknow"],
             "hi": ["मुंबई", "दिल्ली", "पुणे", "नागपुर", "जयपुर", "इंदौर", "नासिक", "लखनऊ"],
             "mr": ["मुंबई", "दिल्ली", "पुणे", "नागपूर", "जयपूर", "इंदूर", "नाशिक", "लखनऊ"]},
    "day": {"en": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
            "hi": ["सोमवार", "मंगलवार", "बुधवार", "गुरुवार", "शुक्रवार", "शनिवार", "रविवार"],
            "mr": ["सोमवारी", "मंगळवारी", "बुधवारी", "गुरुवारी", "शुक्रवारी", "शनिवारी", "रविवारी"]},
    "time": {"en": ["morning", "afternoon", "evening"], "hi": ["सुबह", "दोपहर में", "शाम को"],
             "mr": ["सकाळी", "दुपारी", "संध्याकाळी"]},
}

_HUNDREDS = {
    "en": [f"{n} hundred" for n in ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")],
    "hi": [f"{n} सौ" for n in ("एक", "दो", "तीन", "चार", "पाँच", "छह", "सात", "आठ", "नौ")],
    "mr": ["शंभर", "दोनशे", "तीनशे", "चारशे", "पाचशे", "सहाशे", "सातशे", "आठशे", "नऊशे"],
}
_THOUSANDS = {
    "en": [f"{n} thousand" for n in ("one", "two", "three", "four", "five", "six")],
    "hi": [f"{n} हज़ार" for n in ("एक", "दो", "तीन", "चार", "पाँच", "छह")],
    "mr": [f"{n} हजार" for n in ("एक", "दोन", "तीन", "चार", "पाच", "सहा")],
}
_TENS = {
    "en": ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"],
    "hi": ["बीस", "तीस", "चालीस", "पचास", "साठ", "सत्तर", "अस्सी", "नब्बे"],
    "mr": ["वीस", "तीस", "चाळीस", "पन्नास", "साठ", "सत्तर", "ऐंशी", "नव्वद"],
}
_RUPEES = {"en": "rupees", "hi": "रुपये", "mr": "रुपये"}
AMOUNT_WORDS = {
    language: sorted({w for part in (_HUNDREDS, _THOUSANDS, _TENS) for v in part[language] for w in v.split()}
                     | {_RUPEES[language]})
    for language in _RUPEES
}


def amount(language: str, rng: random.Random) -> str:
    """A spoken sum: `two thousand three hundred fifty rupees`, with any part but one left out."""
    parts = [rng.choice(table[language]) for table, share in ((_THOUSANDS, 0.4), (_HUNDREDS, 0.75), (_TENS, 0.5))
             if rng.random() < share]
    return " ".join([*(parts or [rng.choice(_HUNDREDS[language])]), _RUPEES[language]])
