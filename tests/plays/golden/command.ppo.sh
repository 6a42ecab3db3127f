# PPO on the Ray cluster that this entry point was submitted to.
set -euo pipefail
source /home/alice/training/multinode/.mnrun/activate.sh
cd /home/alice/training/multinode/ppo
# The checkpoint to resume from, if there is one.
MNRUN_RESUME_FROM=$(cat "$MNRUN_RECORD/resume")
export MNRUN_RESUME_FROM
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
    ${MNRUN_RESUME_FROM:+"--resume_from=$MNRUN_RESUME_FROM"}
