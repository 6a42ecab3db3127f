# PPO on the Ray cluster that this entry point was submitted to.
set -euo pipefail
source /home/alice/training/multinode/.mnrun/activate.sh
cd /home/alice/training/multinode/ppo
# Ends the training when it stands still, with evidence, once no step came for long.
python -B "$MNRUN_RECORD/observer.py" "$MNRUN_RECORD/observer.json" &
OBSERVER_PID=$!
trap 'kill "$OBSERVER_PID" || true; wait "$OBSERVER_PID" || true' EXIT
# The checkpoint to resume from, if there is one.
MNRUN_RESUME_FROM=$(cat "$MNRUN_RECORD/resume")
export MNRUN_RESUME_FROM
export WANDB_DIR=/home/alice/training/multinode/ppo
/home/alice/train \
    --model \
    /home/alice/training/multinode/sft/checkpoints/global_step_58/huggingface \
    --train_files \
    /home/alice/data/gsm8k/train.parquet \
    --test_files \
    /home/alice/data/gsm8k/test.parquet \
    --output_dir \
    /home/alice/training/multinode/ppo/checkpoints \
    --nodes \
    2 \
    --gpus_per_node \
    8 \
    --max_steps \
    4 \
    ${MNRUN_RESUME_FROM:+"--resume_from" "$MNRUN_RESUME_FROM"}
