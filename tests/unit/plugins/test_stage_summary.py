"""What a stage came to, in lines for people."""

from __future__ import annotations

from ansible_collections.mnrun.train.plugins.filter.stage_summary import stage_summary


def test_a_finished_stage_tells_its_job_steps_metrics_and_place() -> None:
    result = {
        "stage": "sft",
        "job": {"id": "12", "state": "COMPLETED"},
        "output": {
            "step": 160,
            "path": "/run/global_step_160",
            "model": "/run/global_step_160/huggingface",
            "metrics": {"first_loss": 6.398, "loss": 0.0417, "first_val_loss": 0.09},
        },
    }
    assert stage_summary(result) == [
        "sft  job 12 COMPLETED, 160 steps, loss 6.398 → 0.0417",
        "     /run/global_step_160/huggingface",
    ]


def test_what_is_not_known_is_left_out() -> None:
    assert stage_summary({"stage": "ppo", "job": None, "output": None}) == ["ppo  not run"]
    running = {"stage": "ppo", "job": {"id": "ppo-1", "state": "RUNNING"}, "output": None}
    assert stage_summary(running) == ["ppo  job ppo-1 RUNNING"]


def test_without_an_output_the_logs_metrics_are_told() -> None:
    result = {"stage": "ppo", "progress": {"metrics": {"reward": 0.5}}}
    assert stage_summary(result) == ["ppo  reward 0.5 → 0.5"]


def test_a_converted_model_tells_its_scores_only() -> None:
    metrics = {"first_loss": 6.4, "loss": 0.1, "first_sampled_score": 0.3, "sampled_score": 0.9}
    result = {"stage": "convert-ppo", "output": {"step": 20, "model": "/m", "metrics": metrics}}
    assert stage_summary(result)[0] == "convert-ppo  20 steps, sampled score 0.3 → 0.9"
