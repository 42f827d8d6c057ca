"""Reference vectors for models/clip's tokenizer: what transformers' CLIPTokenizer makes of some 2,000 strings.

    python3 tools/golden/clip_tokens.py BPE_SIMPLE_VOCAB_16E6.TXT.GZ TORCHVISION/MODELS/_META.PY

needs transformers, and two files that PyPI has: open_clip/bpe_simple_vocab_16e6.txt.gz of open-clip-torch, which is
OpenAI's list of merges, and torchvision/models/_meta.py of torchvision, which has ImageNet's class names. It rewrites

  models/clip/cliptest/merges.txt.gz      the 48,894 merges that CLIP uses, as a tokenizer folder has them
  models/clip/testdata/tokenizers/<kind>/ the other files of three tokenizer folders: sd1 and sd2 as Stable Diffusion's
                                          are, added with words of its own, listed as newer folders list them
  models/clip/testdata/tokens.jsonl.gz    a line {"made_by"}, then {"text", "sd1", "sd2", "added"}: ids with the marks of
                                          start and end, truncated to 77, not padded; a kind that has sd1's ids is left out
  models/clip/testdata/unicode.json.gz    kinds: ranges [first, last, kind] of characters as the expressions of the
                                          pre-tokenizer see them, L(etter), N(umber), S(pace), P (what else) or U (not
                                          assigned); normalized: characters that the normalizer changes, and to what
"""

import ast
import gzip
import io
import json
import pathlib
import random
import sys
import tempfile

import tokenizers
import transformers
from tokenizers import Regex, pre_tokenizers
from transformers import CLIPTokenizer

CLIP = pathlib.Path(__file__).resolve().parents[2] / "models/clip"
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def flags(content, **more):
    return dict(content=content, lstrip=False, normalized=True, rstrip=False, single_word=False) | more


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data, indent=2) + "\n", encoding="utf-8")


def write_gzip(path, text):
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as f:
        f.write(text.encode())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())


def byte_symbols():
    """What stands for each byte, in the order of the vocabulary's first ids."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(b) for b in kept] + [chr(256 + i) for i in range(256 - len(kept))]


def settings():
    """The small files of each kind of folder."""
    def typed(content):
        return {"__type": "AddedToken"} | flags(content)

    def older(pad):
        return {
            "tokenizer_config.json": {
                "add_prefix_space": False, "bos_token": typed(BOS), "do_lower_case": True, "eos_token": typed(EOS),
                "errors": "replace", "model_max_length": 77, "name_or_path": "openai/clip-vit-large-patch14",
                "pad_token": pad, "special_tokens_map_file": "./special_tokens_map.json", "tokenizer_class": "CLIPTokenizer",
                "unk_token": typed(EOS),
            },
            "special_tokens_map.json": {"bos_token": flags(BOS), "eos_token": flags(EOS), "pad_token": pad, "unk_token": flags(EOS)},
        }

    listed = {
        "0": flags("!", normalized=False, special=True), "49406": flags(BOS, special=True), "49407": flags(EOS, special=True),
        "49408": flags("<Cat-Toy>", special=False), "49409": flags("<cat>", normalized=False, lstrip=True, rstrip=True, special=False),
        "49410": flags("<cat><dog>", normalized=False, special=True),
    }
    return {
        "sd1": older(EOS),
        "sd2": older("!"),
        "added": {"tokenizer_config.json": {
            "added_tokens_decoder": listed, "bos_token": BOS, "clean_up_tokenization_spaces": True, "eos_token": EOS,
            "model_max_length": 77, "pad_token": "!", "tokenizer_class": "CLIPTokenizer", "unk_token": EOS,
        }},
    }


WRITTEN = """a photo of a fox¦this is a test string of text¦A Photo Of A FOX.¦it's¦IT'S¦they're we've I'm he'll she'd can't o'clock
'sabc 's 'tis ''s '''m¦rock'n'roll¦don’t¦`quoted'¦1234567890¦3.14159¦1,000,000¦x2y3z¦ⅷ ½ ² ٣ ५ 〇¦hello, world!¦!!!¦! a !¦?!?!...¦--- *** ///
#hashtag @mention http://a.example/b?c=d&e=f¦a.b.c¦C++ & C#¦100% $5.99 €10 £3¦(a (b) [c] {d})¦<b>bold</b>¦&amp; &lt;tag&gt;¦a_b_c¦tab	here
line\u2028two\u2029three\u0085four¦\u00a0nbsp\u2003em\u3000ideographic\u1680ogham¦\u200bzero\u200cwidth\u200djoiner\u2060\ufeffbom¦\u180emongolian
\x00null\x01\x02¦bell\x07 \x1b[31mred\x1b[0m¦\x1c\x1d\x1e\x1f¦\x7fdelete\x80\x9f¦soft\u00adhyphen¦\ufffd\ufffd¦\ufffe\uffff\U0010ffff¦\ue000private
café¦cafe\u0301¦ÀÉÎÕÜ¦A\u0300E\u0301¦ñandú¦Ångström A\u030angstro\u0308m¦\u212b \u212a \u2126¦ﬁ ﬂ ﬃ¦ß ẞ STRASSE¦İstanbul I\u0307¦ıI¦Ǆ ǅ ǆ¦ΣΊΣΥΦΟΣ
ОДИН два Три¦ђњћ Ѐ¦Ελληνικά ἀᾳῷ¦ქართული ᲐᲑᲒ¦Հայերեն¦Ꭰꭰ Ᏸ¦𐐀𐐨¦𝐇𝐞𝐥𝐥𝐨 𝓌𝑜𝓇𝓁𝒹¦Ｆｕｌｌ　Ｗｉｄｔｈ１２３¦ﾊﾝｶｸ¦が か\u3099¦パ ハ\u309a
日本語のテキスト¦中文字符测试¦한국어 텍스트¦\u1112\u1161\u11ab\u1100\u1173\u11af¦각 \u1100\u1161\u11a8¦漢字とかな交じり文¦豈更車\uf900\U0002f800¦𠀀𪛖¦\U00031350\U0002ebf0
عربي نص¦שלום עולם¦שָׁלוֹם¦مُحَمَّد¦فارسی\u200cنیم‌فاصله¦\u202eRTL\u202c¦हिन्दी पाठ¦क\u093c \u0958¦ภาษาไทย¦ພາສາລາວ¦བོད་ཡིག¦မြန်မာ¦অ\u09c7\u09be ো¦ஔ \u0b92\u0bd7¦🏳️\u200d🌈
😀😃😄¦👍🏽👩🏾¦👨\u200d👩\u200d👧\u200d👦¦🇩🇪🇫🇷🇯🇵¦1️⃣#️⃣¦❤️ ❤¦☕️ ⌚¦🫠🫨🪿¦a😀b1😀2¦😂😂😂😂😂😂😂😂¦🐱‍👤¦🧑🏻‍🚀 in space
a\u0301\u0300\u0323¦a\u0323\u0301¦q\u0307\u0323 q\u0323\u0307¦\u0301start¦x\u034f\u0301¦ệ e\u0323\u0302 e\u0302\u0323¦\u1e9b\u0323¦\u0344 \u0387 \u037e¦\u2adc¦\ufb1d \ufb2a
<|startoftext|>¦<|endoftext|>¦a <|startoftext|> b¦a<|endoftext|>b¦<|STARTOFTEXT|> <|EndOfText|>¦<|startoftext|>!!¦!!<|endoftext|>!!¦<|startoftext|><|startoftext|>¦<|startoftext¦
<|endoftext|>s¦'<|endoftext|>'s¦<|endo\u200bftext|>¦<start_of_text>¦<|startoftext|>'s¦</w>¦a</w> b</w>¦Ġ Ċ¦<unk> <pad> <s>¦[PAD]¦* a * b¦!important¦!¦hi!¦wow!!!
<cat-toy> <Cat-Toy> <CAT-TOY>¦<cat> <CAT>¦<cat><dog>¦a <cat><dog> b¦<cat><|endoftext|>¦  <cat>  x¦x<cat>y¦<cat-toy>s¦\u212a \u017f¦<Ca\u0301t-Toy>""".replace("\n", "¦").split("¦")

ALPHABETS = {
    "ascii": [chr(c) for c in range(32, 127)],
    "signs": list("!'\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~ 'st're've'm'll'd 12"),
    "latin": [chr(c) for c in range(0xa0, 0x250)] + list(" aeiou"),
    "marks": list("aeiouqx ") + [chr(c) for c in range(0x300, 0x370)],
    "spaces": list("ab1!") + [chr(c) for c in (*range(9, 14), 28, 31, 32, 0x85, 0xa0, 0x1680, *range(0x2000, 0x2010), 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff, 0x180e)],
    "controls": list("ab ") + [chr(c) for c in (*range(32), *range(127, 160))],
    "letters": [chr(c) for c in range(0x370, 0x2000)],
    "symbols": [chr(c) for c in range(0x2000, 0x2e00)],
    "cjk": [chr(c) for c in (*range(0x3000, 0x3400), *range(0x4e00, 0x4f00), *range(0xac00, 0xac80), *range(0xf900, 0xfa00))],
    "hangul": [chr(c) for c in (*range(0x1100, 0x1200), *range(0xac00, 0xac40))],
    "emoji": [chr(c) for c in (*range(0x1f300, 0x1f650), *range(0x1f900, 0x1fa00), 0x200d, 0xfe0f, *range(0x1f3fb, 0x1f400), *range(0x1f1e6, 0x1f200))],
    "indic": [chr(c) for c in range(0x900, 0xe00)],
    "rtl": [chr(c) for c in (*range(0x590, 0x700), 0x200e, 0x200f, 0x202b, 0x202e, 32, 32)] + [chr(c) for c in range(0xfb1d, 0xfb50)],
    "newer": [chr(c) for c in (*range(0x898, 0x8a0), 0xc3c, *range(0x1abf, 0x1acf), *range(0x1df6, 0x1dfb), *range(0x10d40, 0x10d66), *range(0x105c0, 0x105f4), *range(0x16ea0, 0x16eb9), *range(0x2ebf0, 0x2ec20), 0x301, 0x323, 0x334, 97, 32)],
    "any": [chr(c) for c in range(0x30000) if not 0xd800 <= c < 0xe000],
    "tokens": ["<|startoftext|>", "<|endoftext|>", "<|", "|>", "startoftext", "<cat>", "<dog>", "<Cat-Toy>", "!", "!!", "'s", " ", "a", "A", "\u0301", "1", "é", "猫", "😀"],
}


def strings(meta):
    classes = None
    for node in ast.walk(ast.parse(pathlib.Path(meta).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and node.targets[0].id == "_IMAGENET_CATEGORIES":
            classes = ast.literal_eval(node.value)
    if len(classes) != 1000:
        raise SystemExit(f"{meta}: {len(classes)} classes, want 1,000")
    rng = random.Random(5)
    words = [w for c in classes for w in c.split()]
    texts = ["", " ", "   \t\n ", *classes, *(f"a photo of a {c}" for c in classes[:100]), *WRITTEN]
    for alphabet in ALPHABETS.values():
        texts += ["".join(rng.choices(alphabet, k=rng.choice([1, 2, 3, 5, 8, 13, 20, 40]))) for _ in range(50)]
    for n in (20, 30, 31, 40, 80):  # more marks than one letter may have in a stream-safe text
        texts.append("e" + "".join(rng.choices(ALPHABETS["marks"][8:], k=n)) + "x")
    texts += [" ".join(rng.choices(words, k=n)) for n in (40, 50, 60, 66, 70, 74, 75, 76, 77, 80, 100, 1000)]
    texts += ["a " * n for n in (74, 75, 76, 10000)] + ["x" * n for n in (100, 1000, 5000)] + ["1" * 200, "!" * 300, "😀" * 200, "猫" * 500]
    texts += ["".join(rng.choices("abcdefghij", k=3000)), "word " * 74 + EOS, "word " * 75 + EOS, EOS * 80, "\n".join(WRITTEN)]
    return list(dict.fromkeys(texts))


def unicode(tokenizer):
    backend = tokenizer._tokenizer
    kinds = [pre_tokenizers.Split(Regex(e), behavior="removed", invert=True) for e in (r"\p{L}", r"\p{N}", r"\s", r"\p{Cn}")]
    ranges, normalized = [], {}
    for c in (*range(0xd800), *range(0xe000, 0x110000)):
        kind = next((k for k, e in zip("LNSU", kinds) if e.pre_tokenize_str(chr(c))), "P")
        if ranges and ranges[-1][2] == kind and ranges[-1][1] == c - 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c, kind])
        if (changed := backend.normalizer.normalize_str(chr(c))) != chr(c):
            normalized[f"{c:x}"] = changed
    return {"kinds": ranges, "normalized": normalized}


def main(bpe, meta):
    lines = gzip.open(bpe, "rt", encoding="utf-8").read().split("\n")
    merges = lines[1 : 49152 - 256 - 2 + 1]
    symbols = byte_symbols()
    tokens = symbols + [s + "</w>" for s in symbols] + ["".join(m.split()) for m in merges] + [BOS, EOS]
    merges_txt = "#version: 0.2\n" + "\n".join(merges) + "\n"
    write_gzip(CLIP / "cliptest/merges.txt.gz", merges_txt)
    loaded = {}
    for kind, files in settings().items():
        for name, content in files.items():
            write(CLIP / "testdata/tokenizers" / kind / name, content)
        with tempfile.TemporaryDirectory() as folder:
            for name, content in (files | {"vocab.json": {t: i for i, t in enumerate(tokens)}, "merges.txt": merges_txt}).items():
                write(pathlib.Path(folder) / name, content)
            loaded[kind] = CLIPTokenizer.from_pretrained(folder)
    versions = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__, "script": "tools/golden/clip_tokens.py"}
    out = [{"made_by": versions}]
    for text in strings(meta):
        ids = {kind: t(text, truncation=True).input_ids for kind, t in loaded.items()}
        out.append({"text": text} | {k: v for k, v in ids.items() if k == "sd1" or v != ids["sd1"]})
    write_gzip(CLIP / "testdata/tokens.jsonl.gz", "".join(json.dumps(x, separators=(",", ":")) + "\n" for x in out))
    write_gzip(CLIP / "testdata/unicode.json.gz", json.dumps({"made_by": versions} | unicode(loaded["sd1"]), separators=(",", ":")))
    print(len(out) - 1, "strings;", {k: sum(k in x for x in out) for k in ("sd2", "added")}, "differ from sd1")


if __name__ == "__main__":
    main(*sys.argv[1:])
