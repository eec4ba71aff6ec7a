#!/usr/bin/env bash
# The whole recipe, one resumable command a step:   recipes/mini/run.sh CORPUS_DIR WORK_DIR
# A step that was cut goes on where it stopped when the script runs again. With TEACHER=module:function
# in the environment, a teacher first adds conversations.txt and other voices to the corpus.
set -euo pipefail
corpus=$1 work=$2
mkdir -p "$work"
step() { echo "== $*" >&2; python -m "$@"; }

step recipes.mini.fetch_whisper "$work"
step recipes.mini.build_pronunciations fireredtts2/models/mini/pronunciations.txt.gz
step recipes.mini.build_tokenizer fireredtts2/models/mini/tokenizer/tokenizer.json
[ -z "${TEACHER:-}" ] || step recipes.mini.speak_lines "$corpus" "$TEACHER"
[ -z "${TEACHER:-}" ] || step recipes.mini.speak_voices "$corpus" "$TEACHER"
step recipes.mini.decode_corpus "$corpus" "$work"
step recipes.mini.vary "$work"
step recipes.mini.semantic_features "$work" "$work/whisper_tiny_en.bin"
step recipes.mini.align "$work"
step recipes.mini.train_codec "$work"
step recipes.mini.tokenise "$work"
step recipes.mini.train_speakers "$work"
step recipes.mini.train_decoder "$work"
step recipes.mini.train_listener "$work"
step recipes.mini.train_llm "$work"
step recipes.mini.export "$work"
step recipes.mini.guide "$work"
step recipes.mini.choose_voices "$work"
step fireredtts2.evaluation --corpus "$corpus" --out "$work/report"
