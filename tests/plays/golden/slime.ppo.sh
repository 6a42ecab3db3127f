# PPO on the Ray cluster that this entry point was submitted to.
set -euo pipefail
source /home/alice/training/multinode/.mnrun/activate.sh
cd /home/alice/training/multinode/ppo
# Ends the training when it stands still, with evidence, once no step came for long.
python -B "$MNRUN_RECORD/observer.py" "$MNRUN_RECORD/observer.json" &
OBSERVER_PID=$!
trap 'kill "$OBSERVER_PID" || true; wait "$OBSERVER_PID" || true' EXIT
export WANDB_DIR=/home/alice/training/multinode/ppo
python /home/alice/slime/train.py \
    --save-interval \
    20 \
    --hf-checkpoint \
    /home/alice/training/multinode/sft/checkpoints/global_step_58/huggingface \
    --prompt-data \
    /home/alice/data/gsm8k/train.parquet \
    --load \
    /home/alice/training/multinode/ppo/checkpoints \
    --save \
    /home/alice/training/multinode/ppo/checkpoints \
    --actor-num-nodes \
    2 \
    --actor-num-gpus-per-node \
    8 \
    --num-gpus-per-node \
    8 \
    --colocate \
    --advantage-estimator \
    grpo \
    --n-samples-per-prompt \
    8 \
    --use-kl-loss \
    --use-wandb \
    --ref-load \
    /home/alice/torch_dist
