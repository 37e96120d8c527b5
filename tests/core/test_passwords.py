import pytest

from headrace.passwords import hash_password, problem, verify


@pytest.mark.parametrize("password", ["secret", "", "pä$$:w ört", "x" * 10_000, b"\xff\x00"])
def test_a_password_matches_its_own_hash_only(password):
    stored = hash_password(password)
    assert problem(stored) is None
    assert verify(password, stored)
    assert not verify("other", stored)


def test_hashes_are_salted_and_fit_a_line_of_name_and_hash():
    one, two = hash_password("secret"), hash_password("secret")
    assert one != two
    assert not set(one) & set(":\n ")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "secret",
        "scrypt$16384$8$1$AAAA$AAAA",
        "scrypt$16384$8$1$AAAAAAAAAAAAAAAAAAAAAA==$" + "!" * 44,
        "scrypt$1000000000$8$1$AAAAAAAAAAAAAAAAAAAAAA==$" + "A" * 43 + "=",
        "scrypt$16383$8$1$AAAAAAAAAAAAAAAAAAAAAA==$" + "A" * 43 + "=",
        "scrypt$16384$0$1$AAAAAAAAAAAAAAAAAAAAAA==$" + "A" * 43 + "=",
        "bcrypt$16384$8$1$AAAAAAAAAAAAAAAAAAAAAA==$" + "A" * 43 + "=",
    ],
)
def test_what_is_no_hash_never_matches(stored):
    assert problem(stored)
    assert not verify("", stored)
    assert not verify(stored, stored)
