"""Which variables are secrets, and which only look like one."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.environment.secret import (
    inner_secrets,
    secret_fault,
)

# Put together here, so that no scanner takes this file for a leak.
TAIL = "A1b2C3d4" * 5
TEXT = "correct horse"


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "OPENAI_KEY",
        "GITHUB_PAT",
        "DB_PASS",
        "HF_TOKEN",
        "HF_TOKEN_2",
        "HUGGING_FACE_HUB_TOKEN",
        "WANDB_API_KEY",
        "wandb_api_key",
        "MYSQL_PWD",
        "PGPASSWORD",
        "RCLONE_CONFIG_PASS",
        "SSH_PASSPHRASE",
        "dbPassword",
        "openaiKey",
        "APIKEY",
        "STORAGE_ACCOUNT_KEY",
        "ENCRYPTION_KEY",
        "NPM_CONFIG__AUTH",
        "AZURE_CLIENT_SECRET",
        "DOCKER_AUTH",
        "GHTOKEN",
        "MY_CREDS",
        "SERVICE_CREDENTIALS",
        "CI_JOB_JWT",
        "TOKEN_VALUE",
        "ERLANG_COOKIE",
        "SECRET",
    ],
)
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert secret_fault(name, TEXT) == "is a secret by its name"
    assert secret_fault(name, TAIL) == "is a secret by its name"


@pytest.mark.parametrize(
    "value",
    [
        "http://me:word@proxy:3128",
        "socks5://me:w0rd@10.0.0.1",
        "postgresql://u:p@db/x",
        "https://:word@host",
        f"redis://default:{TAIL}@r:6379/0",
    ],
)
@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY", "MLFLOW_TRACKING_URI", "SETTINGS"])
def test_a_password_in_an_address_is_found_under_any_name(name: str, value: str) -> None:
    assert secret_fault(name, value) == "contains a password in its address"


def test_a_proxy_needs_no_scheme() -> None:
    assert secret_fault("https_proxy", "me:word@proxy:3128")
    assert secret_fault("NOTE", "a:b@c") == ""


@pytest.mark.parametrize(
    "value",
    [
        f"hf_{TAIL}",
        f"ghp_{TAIL}",
        f"github_pat_{TAIL}",
        f"glpat-{TAIL}",
        f"sk-{TAIL}",
        f"sk-ant-{TAIL}",
        f"xoxb-{TAIL}",
        f"AIza{TAIL}",
        f"nvapi-{TAIL}",
        f"eyJ{TAIL}.eyJ{TAIL}.x",
        f"--token hf_{TAIL}",
        f"https://ghp_{TAIL}@github.com/a/b",
        "-----BEGIN RSA PRIVATE KEY-----",
        "https://hooks.slack.com/services/T0/B0/x",
        "host=db password=swordfish",
        "--api-key=swordfish",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=c3dvcmRmaXNo==;",
        "client_secret=swordfish",
        "Server=db;Uid=me;DB_PASSWORD=swordfish",
        "aws_secret_access_key = swordfish",
        "https://x.blob.core.windows.net/c?sv=2022&sig=c3dvcmRmaXNoc3dvcmRmaXNo%3D",
        "https://b.s3.amazonaws.com/k?X-Amz-Expires=9&X-Amz-Signature=fe5f80f77d5fa3beca038a24",
        "Authorization: Bearer abcdefgh",
    ],
)
def test_a_secret_is_known_by_its_form(value: str) -> None:
    assert secret_fault("EXTRA", value) == "contains a secret"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKENIZERS_PARALLELISM", "false"),
        ("MAX_TOKENS", "4096"),
        ("MAX_NEW_TOKENS", 512),
        ("MAX_TOKENS", "a lot"),
        ("TOKEN_LIMIT", "many"),
        ("PAD_TOKEN", "<pad>"),
        ("EOS_TOKEN", "</s>"),
        ("MASK_TOKEN", "[MASK]"),
        ("SORT_KEY", "length"),
        ("PROMPT_KEY", "question"),
        ("KEYBOARD", "us"),
        ("NCCL_SOCKET_IFNAME", "enp25s0np0"),
        ("MONKEY", "business"),
        ("BYPASS", "proxy"),
        ("SINGLE_PASS", "1"),
        ("SINGLE_PASS", True),
        ("PWD", "/home/me"),
        ("OLDPWD", "/"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/home/me/key.json"),
        ("HF_TOKEN_PATH", "~/.hf/token"),
        ("AWS_SHARED_CREDENTIALS_FILE", "creds"),
        ("SSH_AUTH_SOCK", "/tmp/agent"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("RAY_AUTH_MODE", "token"),
        ("http_proxy", "http://proxy:3128"),
        ("no_proxy", "localhost,10.0.0.0/8"),
        ("HTTPS_PROXY", "http://me@proxy:3128"),
        ("WANDB_BASE_URL", "https://api.wandb.ai"),
        ("GIT_URL", "ssh://git@github.com/a/b"),
        ("REPO_URL", "git@github.com:a/b.git"),
        ("FILE_PAT", "*.parquet"),
        ("COMMIT", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("MNRUN", ""),
        ("HF_HOME", "/data/hf_cache"),
        ("MODEL", "hf_model"),
        ("TASK", "sk-learn"),
        ("HF_TOKEN", ""),
        ("TORCH_LOGS", "+dynamo"),
        ("PASSES", "three"),
        ("PATH", "/usr/bin:/bin"),
        ("COMPASS", "north"),
        ("NOTE", "https://x/y?signal=abcdefghijklmnopqrst&sv=2022"),
        ("XLA_FLAGS", "--xla_gpu_autotune_level=4 --xla_dump_to=/tmp/a/b/c"),
        ("FILTER", "sort_key=timestamp"),
    ],
)
def test_what_only_looks_like_one_is_let_through(name: str, value: object) -> None:
    assert secret_fault(name, value) == ""


@pytest.mark.parametrize(("value", "secret"), [(12345678, True), ("0042", True), (1, False)])
def test_a_password_may_be_a_number(value: object, secret: bool) -> None:
    assert bool(secret_fault("DB_PASS", value)) is secret
    assert not secret_fault("MAX_TOKEN", value)


def test_a_key_that_begins_like_a_path_is_one_all_the_same() -> None:
    assert secret_fault("AWS_SECRET_ACCESS_KEY", "/" + "aB3" * 13)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"export": f"ALL,WANDB_API_KEY={TAIL}"}, "WANDB_API_KEY"),
        ({"export": f"HF_HOME=/x,DB_PASS={TEXT},A=1"}, "DB_PASS"),
        ({"export": "ALL,https_proxy=http://me:word@proxy:3128"}, "https_proxy"),
        ({"comment": f"hf_{TAIL}"}, "comment"),
        ({"+ray_kwargs.ray_init.runtime_env.env_vars.WANDB_API_KEY": TAIL}, "WANDB_API_KEY"),
        ({"custom_reward_function.reward_kwargs": {"openai_api_key": TEXT}}, "openai_api_key"),
        ({"custom_reward_function.reward_kwargs": {"judge": {"key": TAIL}}}, "judge.key"),
        ({"trainer.logger": ["console", f"sk-{TAIL}"]}, "trainer.logger"),
        ({"reward_model.url": "https://me:word@judge/v1"}, "reward_model.url"),
        ({"reward.token": TEXT}, "reward.token"),
    ],
)
def test_secrets_are_found_within_options(value: Any, named: str) -> None:
    (found,) = inner_secrets(value, of_trainer=True)
    assert named in found
    assert TAIL not in found
    assert TEXT not in found


@pytest.mark.parametrize(
    "value",
    [
        {"export": "NONE"},
        {"export": "ALL,HF_HUB_TOKEN_FILE=/home/me/token,TOKENIZERS_PARALLELISM=false"},
        {"data.prompt_key": "prompt", "data.reward_fn_key": "data_source"},
        {"data.multiturn.messages_key": "messages", "data.tools_key": "tools"},
        {"data.prompt_dict_keys": ["question"], "data.response_dict_keys": ["answer"]},
        {"data.multiturn.enable_thinking_key": "enable_thinking"},
        {"actor.loss_agg_mode": "token-mean", "data.max_token_len_per_gpu": 4096},
        {"reward_kwargs": {"api_key": "${oc.env:OPENAI_API_KEY}"}},
        {"critic.pad_token": "<pad>", "model.eos_token": "[EOS]"},
        {"data.image_key": "image", "trainer.use_legacy_token": False},
    ],
)
def test_columns_and_references_are_no_secrets(value: Any) -> None:
    assert list(inner_secrets(value, of_trainer=True)) == []
