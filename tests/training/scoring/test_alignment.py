"""Two texts above each other."""

from training.scoring.alignment import aligned


def test_an_alignment_stands_word_under_word():
    assert aligned("it is my name Ram", "it my fame Ram ok").splitlines() == [
        "REF: it is my name Ram **",
        "HYP: it ** my fame Ram ok",
        "        D     S        I",
    ]


def test_it_holds_every_word_of_both_texts():
    said, heard, marks = aligned("मेरा नाम राम है okay", "मेरा काम well राम okay").splitlines()
    assert [word for word in said.split()[1:] if set(word) != {"*"}] == ["मेरा", "नाम", "राम", "है", "okay"]
    assert [word for word in heard.split()[1:] if set(word) != {"*"}] == ["मेरा", "काम", "well", "राम", "okay"]
    assert set(marks.split()) <= {"S", "D", "I"}
    assert len(marks.split()) == 3


def test_where_nothing_was_said_it_is_what_was_heard():
    assert aligned("", "invented") == "invented"
