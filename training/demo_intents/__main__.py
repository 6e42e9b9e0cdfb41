"""`python -m training.demo_intents`: make the bundled parser anew, weights and served form (two minutes)."""

import argparse
import logging
import warnings
from pathlib import Path

from ml_backend.nlu.loading import BUNDLED_PARSER


def main() -> None:
    from tokenizers import Tokenizer

    from ml_backend.nlu.parsing import TOKENIZER_FILE
    from training.demo_intents import encoder_maker

    parser = argparse.ArgumentParser(prog="python -m training.demo_intents", description=__doc__)
    parser.add_argument("--model", type=Path, default=BUNDLED_PARSER, help="where the served form goes")
    parser.add_argument("--weights", type=Path, default=encoder_maker.WEIGHTS_FOLDER, help="where its weights go")
    parser.add_argument("--new-tokenizer", action="store_true", help="train one, instead of the one in weights/")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    known = encoder_maker.WEIGHTS_FOLDER / TOKENIZER_FILE
    tokenizer = None if asked.new_tokenizer else Tokenizer.from_file(str(known))
    result = encoder_maker.make(served=asked.model, weights=asked.weights, tokenizer=tokenizer)
    print(f"{result['model_version']}: {result['after']}, served as {result['parity']['form']}")


if __name__ == "__main__":
    main()
