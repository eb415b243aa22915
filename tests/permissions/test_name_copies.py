"""Words by which copies of one app differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.permissions.name_copies import copies_of, pattern_of_words, patterns_of_names_within
from leastpriv.permissions.patterns import resource_covers

HERE = "eu-west-1:111122223333"
APP = (
    f"arn:aws:sqs:{HERE}:shop-STAGE-orders",
    f"arn:aws:dynamodb:{HERE}:table/shop-STAGE-carts",
    "arn:aws:iam::111122223333:role/shop-STAGE-worker",
)


def app(stage: str, run: str, shapes: tuple[str, ...] = APP) -> dict[str, frozenset[str]]:
    return {shape.replace("STAGE", stage): frozenset({run}) for shape in shapes}


@pytest.mark.parametrize(
    ("one", "other", "between"),
    [
        ("prod", "qa", "shop-*"),
        ("prod", "pr-31", "shop-*"),
        ("pr-31", "pr-47", "shop-pr-*"),
        ("uat", "login-page", "shop-*"),
    ],
)
def test_two_copies_of_three_resources_open_the_word_that_differs(
    one: str, other: str, between: str
) -> None:
    created = {**app(one, "1"), **app(other, "2")}
    expected = {
        arn: shape.replace("shop-STAGE", between) for shape in APP for arn in app(one, "", (shape,))
    }
    found = copies_of(created, {})
    assert {arn: found.get(arn) for arn in expected} == expected
    assert {*found} == {*created}


def test_copies_of_capitalized_words_are_found() -> None:
    shapes = (f"arn:aws:lambda:{HERE}:function:ShopSTAGEHandler", *APP[:2])
    found = copies_of({**app("Prod", "1", shapes), **app("Qa", "2", shapes)}, {})
    assert (
        found[f"arn:aws:lambda:{HERE}:function:ShopQaHandler"]
        == f"arn:aws:lambda:{HERE}:function:Shop*Handler"
    )


def test_a_copy_that_existed_before_the_first_record_counts() -> None:
    assert {*copies_of(app("qa", "2"), app("prod", "1"))} == {*app("qa", "2"), *app("prod", "1")}
    assert copies_of({}, {**app("qa", "2"), **app("prod", "1")}) == {}, "no run created any of them"


@pytest.mark.parametrize(
    "created",
    [
        {**app("orders", "1"), **app("users", "1")},
        {
            **app("prod", "1", APP[:2]),
            **app("qa", "2", APP[:2]),
            f"arn:aws:sqs:{HERE}:a": frozenset("12"),
        },
        {**app("prod", "1"), **app("qa", "2", APP[:1])},
        {
            f"arn:aws:kms:{HERE}:key/{word}-{n}": frozenset({word})
            for word in ("a1", "b2")
            for n in range(4)
        },
        {
            f"arn:aws:sqs:{HERE}:{word}-{team}": frozenset({word})
            for word in ("prod", "qa")
            for team in ("a", "b", "c")
        },
        {
            f"arn:aws:sqs:{HERE}:{word}-orders{team}": frozenset({word})
            for word in ("prod", "qa")
            for team in ("", "-x", "-y")
        }
        | {f"arn:aws:sqs:{HERE}:{word}-users": frozenset({word}) for word in ("prod", "qa")},
    ],
    ids=[
        "one run",
        "two resources",
        "one resource of the second",
        "ids",
        "little else",
        "names of several apps",
    ],
)
def test_what_is_no_copy_opens_nothing(created: dict[str, frozenset[str]]) -> None:
    assert copies_of(created, {}) == {}


def test_two_resources_suffice_where_all_names_of_a_run_have_the_word() -> None:
    created = {**app("prod", "1", APP[:2]), **app("qa", "2", APP[:2])}
    assert copies_of(created, {}) == {
        arn: shape.replace("STAGE", "*")
        for shape in APP[:2]
        for arn in app("prod", "", (shape,)) | app("qa", "", (shape,))
    }
    assert copies_of({**app("prod", "1", APP[:1]), **app("qa", "2", APP[:1])}, {}) == {}


PLAIN = tuple(shape.replace("-STAGE", "") for shape in APP)


def test_the_first_copy_may_have_no_word() -> None:
    created = {**app("", "1", PLAIN), **app("qa", "2")}
    assert copies_of(created, {}) == {arn: arn.replace("qa", "*") for arn in app("qa", "2")}
    table, underscored = (f"arn:aws:dynamodb:{HERE}:table/{name}" for name in ("notes", "notes_qa"))
    notes = {
        **app("", "1", PLAIN[:2]),
        **app("qa", "2", APP[:2]),
        table: frozenset("1"),
        underscored: frozenset("2"),
    }
    assert copies_of(notes, {})[underscored] == f"{table}_*"
    assert copies_of({**app("", "1", PLAIN[:2]), **app("qa", "2")}, {}) == {}, (
        "two names without the word"
    )
    assert copies_of({**app("", "1", PLAIN), **app("worker", "1")}, {}) == {}, "one run made both"
    worker = {**app("", "1", PLAIN), **app("worker", "2")}
    assert copies_of(worker, {PLAIN[0]: "12"}) == {}, "the run that made the worker changed the app"


def test_a_run_of_one_copy_opens_its_word_in_objects_and_in_what_no_other_copy_created() -> None:
    balancer, secret, bucket = (
        "elasticloadbalancing:{}:targetgroup/shop-{}-blue/*",
        "secretsmanager:{}:secret:{}",
        "s3:::",
    )
    own = {name: frozenset("2") for name in (f"arn:aws:{balancer.format(HERE, 'qa')}",)}
    keys = (
        "state/shop/qa.json",
        "state/shop/other.json",
        "results/qa/1.csv",
        "results/shop/prod/1.csv",
    )
    used = {
        f"arn:aws:{secret.format(HERE, 'shop-qa-db-??????')}": "2",
        f"arn:aws:{balancer.format(HERE, 'prod')}": "1",
        **{f"arn:aws:{bucket}{key}": "1" if "prod" in key else "2" for key in keys},
    }
    copies = {**app("prod", "1"), **app("qa", "2")}
    found = copies_of({**copies, **own}, {**copies, **own, **used})
    assert {pattern for name, pattern in found.items() if name not in copies} == {
        f"arn:aws:{balancer.format(HERE, '*')}",
        "arn:aws:s3:::state/shop/*.json",
    }


def test_a_parameter_below_the_word_does_not_hide_that_all_names_behind_the_word_are_of_one_app() -> (
    None
):
    shapes = tuple(
        f"arn:aws:{each}"
        for each in (f"sqs:{HERE}:STAGE-parcel-jobs", f"lambda:{HERE}:function:STAGE-parcel")
    )
    path = f"arn:aws:ssm:{HERE}:parameter/parcel/STAGE/rate"
    alone = {
        f"arn:aws:sns:{HERE}:{name}": frozenset("2")
        for name in ("qa-parcel-alerts", "qa-letter-alerts")
    }
    created = {**app("prod", "1", (*shapes, path)), **app("qa", "2", (*shapes, path)), **alone}
    assert {*copies_of(created, created).values()} == {
        *(shape.replace("STAGE", "*") for shape in (*shapes, path)),
        f"arn:aws:sns:{HERE}:*-parcel-alerts",
    }


def test_folders_that_runs_filled_with_files_of_the_same_names_are_copies() -> None:
    def folders(
        words: str, files: tuple[str, ...] = ("web/{}/index.html", "web/{}/icon.png")
    ) -> set[str]:
        made = {
            f"arn:aws:s3:::site/{each.format(word)}": frozenset({word})
            for word in words.split()
            for each in files
        }
        return {*copies_of(made, made).values()}

    assert folders("cart login theme") == {
        "arn:aws:s3:::site/web/*/icon.png",
        "arn:aws:s3:::site/web/*/index.html",
    }
    assert folders("cart login") == set()
    assert folders("1 2 3", ("web/a-{}.js", "web/b-{}.js", "web/c-{}.js")) == set(), (
        "versions of files"
    )
    assert folders("cart login theme", ("{}/index.html", "{}/icon.png")) == set(), (
        "the first folder of a bucket"
    )


def test_three_copies_need_two_resources() -> None:
    created = {
        arn: runs
        for run, stage in enumerate(("prod", "qa", "uat"))
        for arn, runs in app(stage, str(run), APP[:2]).items()
    }
    assert len(copies_of(created, {})) == len(created)


def test_two_letters_of_a_shortened_name_suffice_where_three_further_names_prove_the_words() -> (
    None
):
    short = f"arn:aws:elasticloadbalancing:{HERE}:targetgroup/sf-%s/*"
    kinds = (
        f"sqs:{HERE}:front-%s",
        f"lambda:{HERE}:function:front-%s",
        f"dynamodb:{HERE}:table/front-%s",
    )
    names = [f"arn:aws:{kind}" for kind in kinds]

    def opened(names: list[str]) -> set[str]:
        found = copies_of(
            {
                name % word: frozenset({word})
                for word in ("cart", "login", "theme")
                for name in names
            },
            {},
        )
        return {pattern for name, pattern in found.items() if "/sf-" in name}

    assert opened([*names, short]) == {short % "*"}
    assert opened([*names[:2], short]) == set()


def test_words_of_the_run_are_open_where_enough_remains() -> None:
    queue = f"arn:aws:sqs:{HERE}:"
    assert (
        pattern_of_words(f"{queue}shop-pr-31-orders", frozenset({"pr-31", "31"}))
        == f"{queue}shop-*-orders"
    )
    assert (
        pattern_of_words(f"{queue}pr-31-shop-orders", frozenset({"pr-31"}))
        == f"{queue}*-shop-orders"
    )
    assert pattern_of_words(f"{queue}qa", frozenset({"qa"})) == f"{queue}qa"
    assert pattern_of_words(f"{queue}aqab-orders", frozenset({"qa"})) == f"{queue}aqab-orders"
    parameter = f"arn:aws:ssm:{HERE}:parameter/qa/password"
    assert pattern_of_words(parameter, frozenset({"qa"})) == parameter


WORD = st.sampled_from(["prod", "qa", "pr-31", "shop", "orders", "*", "Api", "7", "aws/lambda", ""])
NAME = st.lists(WORD, min_size=1, max_size=4).map("-".join)
ARN = st.tuples(
    st.sampled_from(
        [
            f"sqs:{HERE}:",
            "s3:::",
            f"logs:{HERE}:log-group:",
            "iam::111122223333:role/",
            f"ssm:{HERE}:parameter/",
        ]
    ),
    NAME,
).map(lambda each: f"arn:aws:{each[0]}{each[1]}")


@given(st.dictionaries(ARN, st.frozensets(st.sampled_from("123"), max_size=2), max_size=12))
def test_a_pattern_covers_its_resource_in_its_place(created: dict[str, frozenset[str]]) -> None:
    for resource, pattern in copies_of(created, {}).items():
        assert resource_covers(pattern, resource)
        assert pattern.split(":", 5)[:5] == resource.split(":", 5)[:5]
        assert not pattern.split(":", 5)[5].rpartition("/")[0].startswith("*")


@given(ARN, st.sets(WORD))
def test_words_of_a_run_open_no_whole_name(resource: str, words: set[str]) -> None:
    pattern = pattern_of_words(resource, frozenset(words))
    assert resource_covers(pattern, resource)
    assert pattern == resource or not pattern.endswith((":*", "role/*", "parameter/*"))


def test_a_bucket_of_a_copied_stack_begins_with_its_name_in_lower_case() -> None:
    """CloudFormation writes `ShopMaple` into a bucket as `shopmaple`, which shows no word."""
    here = "eu-west-1:111122223333"
    names = (
        f"cloudformation:{here}:stack/Shop%s/*",
        f"sqs:{here}:Shop%s-Jobs-*",
        f"lambda:{here}:function:Shop%s-Api-*",
    )
    created = {
        f"arn:aws:{name % env}": frozenset({env})
        for name in names
        for env in ("Prod", "Maple", "Aspen")
    } | {
        f"arn:aws:s3:::shop{env}-assets-????????????": frozenset({env.title()})
        for env in ("prod", "maple", "aspen")
    }
    found = copies_of(created, {"arn:aws:s3:::shopfloor-assets": ()})
    assert {each for name, each in found.items() if ":s3:" in name} == {
        "arn:aws:s3:::shop*-assets-????????????"
    }


def test_a_resource_below_a_copy_has_the_open_name_of_the_copy() -> None:
    cluster, addon = (
        f"arn:aws:eks:{HERE}:{place}" for place in ("cluster/acme-qa", "addon/acme-qa/vpc-cni/*")
    )
    other = f"arn:aws:eks:{HERE}:addon/acme-docs/vpc-cni/*"
    found = patterns_of_names_within({cluster: cluster.replace("qa", "*")}, [addon, other])
    assert found == {addon: f"arn:aws:eks:{HERE}:addon/acme-*/vpc-cni/*"}
