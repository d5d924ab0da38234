from configparser import ConfigParser

from local_cluster.pip_settings import build_pip_conf, parse_settings

LISTING = """\
:env:.default-timeout='180'
:env:.find-links='/opt/wheels'
global.default-timeout='15'
global.index-url='https://pypi.example/simple'
user.trusted-host='pypi.example'
"""


def test_only_what_a_build_can_use_is_lent() -> None:
    assert set(parse_settings(LISTING)) == {"default-timeout", "index-url", "trusted-host"}


def test_the_environment_wins_over_files_in_any_order() -> None:
    backwards = "\n".join(reversed(LISTING.splitlines()))
    assert parse_settings(LISTING)["default-timeout"] == "180"
    assert parse_settings(backwards)["default-timeout"] == "180"


def test_the_file_is_what_pip_reads() -> None:
    parser = ConfigParser()
    parser.read_string(build_pip_conf({"index-url": "https://pypi.example/simple"}))
    assert dict(parser["global"]) == {
        "cert": "/etc/ssl/certs/ca-certificates.crt",
        "index-url": "https://pypi.example/simple",
    }


def test_a_machine_without_settings_lends_its_certificates_alone() -> None:
    assert build_pip_conf(parse_settings("")).splitlines()[0] == "[global]"
