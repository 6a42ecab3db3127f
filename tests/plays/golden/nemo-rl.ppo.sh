# PPO on the Ray cluster that this entry point was submitted to.
set -euo pipefail
source /home/alice/training/multinode/.mnrun/activate.sh
cd /home/alice/training/multinode/ppo
# Ends the training when it stands still, with evidence, once no step came for long.
python -B "$MNRUN_RECORD/observer.py" "$MNRUN_RECORD/observer.json" &
OBSERVER_PID=$!
trap 'kill "$OBSERVER_PID" || true; wait "$OBSERVER_PID" || true' EXIT
# Steps between two checkpoints, by what an earlier attempt took; empty before there is one.
MNRUN_SAVE_EVERY=$(cat "$MNRUN_RECORD/save_every" || true)
export WANDB_DIR=/home/alice/training/multinode/ppo
python /home/alice/RL/examples/run_grpo.py \
    ++data.default.dataset_name=ResponseDataset \
    data.train.dataset_name=ResponseDataset \
    policy.model_name=/home/alice/training/multinode/sft/checkpoints/global_step_58/huggingface \
    ++data.train.data_path=/home/alice/data/gsm8k/train.parquet \
    ++data.validation.data_path=/home/alice/data/gsm8k/test.parquet \
    cluster.num_nodes=2 \
    cluster.gpus_per_node=8 \
    checkpointing.enabled=true \
    checkpointing.checkpoint_dir=/home/alice/training/multinode/ppo/checkpoints \
    grpo.adv_estimator.name=grpo \
    logger.wandb_enabled=true \
    grpo.max_num_steps=9 \
    ${MNRUN_SAVE_EVERY:+"checkpointing.save_period=$MNRUN_SAVE_EVERY"} \
    ${MNRUN_SAVE_EVERY:+checkpointing.keep_top_k=3}
