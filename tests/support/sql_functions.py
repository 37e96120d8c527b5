"""The page of functions, made from the functions: ``python tests/support/sql_functions.py``.

What is told of each is its own signature and docstring; what each example gives is computed.
"""

from __future__ import annotations

import inspect
import re
from itertools import groupby
from pathlib import Path

from headrace import UNDEFINED, Event
from headrace_plugins.sql.compiler import Surroundings, compile_query
from headrace_plugins.sql.functions import AREAS, BUILTINS, Function
from headrace_plugins.sql.functions.state import Store
from headrace_plugins.sql.parser import parse
from headrace_plugins.sql.values import json_text

PAGE = Path(__file__).parents[2] / "docs" / "sql-functions.md"
EVENT = Event(
    {
        "id": "0006",
        "topic": "plant/7/temp",
        "clientid": "sensor-1",
        "username": "ada",
        "qos": 1,
        "peerhost": "192.0.2.7",
        "flags": {"retain": True},
        "payload": '{"a": {"b": 1}, "list": [10, 20, 30]}',
    }
)
KINDS = {"num": "number", "str": "string", "bool": "boolean", "list": "array", "any": "value"}
UNSTABLE = {"now_rfc3339", "now_timestamp", "random", "uuid_v4", "uuid_v4_no_hyphen", "unix_ts_to_rfc3339"}
UNSTABLE |= {"gzip", "zip", "zip_compress", "term_encode"}
"""Whose results are another each time or on each machine, or no text."""
EXAMPLES = """
msgid()  qos()  topic(2)  flags()  flag('retain')  clientid()  username()  peerhost()  clientip()  payload('a.b')
contains_topic([payload.a], 'x')  contains_topic_match([payload.a], 'x/#')
null()  is_null(payload.gone)  is_null_var(payload.gone)  is_not_null(payload.a)  is_not_null_var(payload.a)
is_str('1')  is_bool(true)  is_int(1.0)  is_float(1.0)  is_num('1')  is_map(payload.a)  is_array([1])  is_empty([])
coalesce(payload.gone, 7)  COALESCE(payload.gone, 7)  coalesce_ne('', 'x')
div(-7, 2)  mod(-7, 2)  eq(1, 1.0)  abs(-2.5)  sin(0)  cos(0)  tan(0)  asin(0)  acos(1)  atan(0)
sinh(0)  cosh(0)  tanh(0)  asinh(0)  acosh(1)  atanh(0)  exp(0)  log(1)  log10(1000)  log2(8)  sqrt(9)
ceil(2.1)  floor(-2.1)  round(2.5)  fmod(7.5, 2)  power(2, 10)  random()  uuid_v4()  uuid_v4_no_hyphen()
bitnot(10)  bitand(12, 10)  bitor(12, 10)  bitxor(12, 10)  bitsl(1, 4)  bitsr(16, 4)  bitsize('é')  bytesize('é')
subbits(hexstr2bin('9F4E'), 1, 8)
str(1.50)  str_utf8(5)  str_utf16_le('A')  bool('true')  int('3.9')  float('3.14159', 2)  float2str(3.0, 2)
map('{"a":1}')  bin2hexstr('AZ', '0x')  hexstr2bin('415A')  sqlserver_bin2hexstr('AZ')
lower('ABC')  upper('abc')  trim(' a ')  ltrim(' a ')  rtrim('a..', '.')  reverse('abc')  rm_prefix('plant/7', 'plant/')
strlen('naïve')  substr('abcdef', 2, 3)  split('a,b,,c', ',')  tokens('a b;c', ' ;')  concat('n=', 5)
pad('7', 3, 'leading', '0')
replace('a-b-c', '-', '+')  ascii('A')  find('a/b/c', '/')  join_to_string('-', [1, 2])
join_to_sql_values_string(['a', 1, true])  unescape('a\\x41')
regex_match('dev-17', '^dev-[0-9]+$')  regex_extract('dev-17', '([a-z]+)-([0-9]+)')  regex_replace('a1b2', '[0-9]', '#')
sprintf('~s: ~.1f', 'temp', 21.55)  sprintf_s('~4..0b', [42])
nth(2, payload.list)  length(payload.list)  sublist(2, 2, payload.list)  first(payload.list)  last(payload.list)
contains(20, payload.list)
map_new()  map_get('a.b', payload)  map_put('a.c', 2, map_new())  mget('a', payload)  mput('x.y', 1, map_new())
map_keys(payload)  map_values(payload.a)  map_to_entries(payload.a)  map_size(payload)
map_to_redis_hset_args(payload.a)
hash('sha256', '')  md5('')  sha('')  sha256('')
gzip('abc')  gunzip(gzip('abc'))  zip('abc')  unzip(zip('abc'))  zip_compress('abc')
zip_uncompress(zip_compress('abc'))
base64_encode('abc', 'no_padding')  base64_decode('YWJj')  json_encode(payload.a)  json_decode('[1, null]')
msgpack_decode(hexstr2bin('81A16101'))  cbor_decode(hexstr2bin('A1616101'))
term_encode(1)  term_decode(term_encode([1, 2]))
timezone_to_offset_seconds('+05:30')  timezone_to_second('-0130')
format_date('second', 'Europe/Paris', '%Y-%m-%d %H:%M %:z', 1700000000)
date_to_unix_ts('second', '+01:00', '%d.%m.%Y %H:%M:%S', '14.11.2023 23:13:20')
rfc3339_to_unix_ts('2023-11-14T22:13:20.5Z', 'millisecond')  now_rfc3339()  now_timestamp('millisecond')
unix_ts_to_rfc3339(1700000000)  mongo_date(1700000000000)
kv_store_put('k', 1)  kv_store_get('k', 0)  kv_store_del('k')
proc_dict_put('k', 1)  proc_dict_get('k')  proc_dict_del('k')
getenv('SITE')
jq('.list[] | . / 10', payload)
"""
HEAD = """# The functions of rule SQL

This page is made from the functions themselves; `headrace list functions` prints them too, with those of plugins. Names
are in lower case and do not change with case. A wrong number of arguments, and a literal that a function cannot take,
are errors when the configuration is read; what is wrong with a value of an event fails that event.

The examples see a message with the topic `plant/7/temp` and the payload `{"a": {"b": 1}, "list": [10, 20, 30]}`. What
undefined and null are is on the page about [the language](sql.md#values).
"""


def page() -> str:
    """The text of the page."""
    examples = {text.partition("(")[0]: text for line in EXAMPLES.splitlines() for text in line.split("  ") if text}
    order = {area.__name__: i for i, area in enumerate(AREAS)}
    functions = sorted(BUILTINS.values(), key=lambda function: order[_area(function)])
    parts = [HEAD]
    for area, group in groupby(functions, key=_area):
        parts.append(f"\n{_heading(area)}\n\n| function | gives | | for example |\n|---|---|---|---|\n")
        parts += [_row(function, examples[function.name]) for function in group]
    return "".join(parts)


def _area(function: Function) -> str:
    module = function.call.__module__
    return "headrace_plugins.sql.functions.numbers" if module.endswith(".runtime") else module


def _heading(area: str) -> str:
    (module,) = (module for module in AREAS if module.__name__ == area)
    about = (inspect.getdoc(module) or "").partition("\n")[0].replace("``", "`")
    title = re.split(r"[.:,] |\.$", about)[0]
    return f"## {title}" + (f"\n\n{about}" if len(about) > len(title) + 1 else "")


def _row(function: Function, example: str) -> str:
    about = (inspect.getdoc(function.call) or "").replace("\n", " ").replace("``", "`")
    given = f"`{example}`" if function.name in UNSTABLE else f"`{example}` is `{_value(example)}`"
    given = given.replace("|", "\\|")
    return f"| `{_signature(function)}` | {KINDS[function.kind]} | {about} | {given} |\n"


def _signature(function: Function) -> str:
    parameters = list(inspect.signature(function.call).parameters.values())[bool(function.first) :]
    text = ""
    for i, parameter in enumerate(parameters):
        comma = ", " if i else ""
        if parameter.kind is parameter.VAR_POSITIONAL:
            text += f"[{comma}…]"
        elif i < function.least:
            text += comma + parameter.name
        else:
            text += f"[{comma}{parameter.name}]"
    return f"{function.name}({text})"


def _value(example: str) -> str:
    query = f'SELECT {example} AS v FROM "#"'
    rows: list[tuple[int, dict[str, object]]] = []
    failed: dict[int, Exception] = {}
    compile_query(query, parse(query), Surroundings(functions={}, store=Store())).run([EVENT], rows, [], failed)
    assert not failed, failed
    value = rows[0][1]["v"]
    if isinstance(value, bytes):
        return f"bytes {value.hex()}"
    return "undefined" if value is UNDEFINED else json_text(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
