# The CUDA libraries come with torch's wheels; the host needs an NVIDIA driver and the container toolkit:
#   docker build -t dfdc .
#   docker run --gpus all -v /path/to/videos:/videos:ro -v "$PWD/weights:/app/weights" -v "$PWD/out:/out" dfdc \
#       ./predict_submission.sh /videos /out/submission.csv
# Without --gpus all it runs on the CPU.
FROM python:3.12-slim
WORKDIR /app
COPY requirements.txt requirements-nodeps.txt ./
RUN pip install --no-cache-dir -r requirements.txt && pip install --no-cache-dir --no-deps -r requirements-nodeps.txt
COPY . .
RUN pip install --no-cache-dir --no-deps -e .
CMD ["python", "predict_folder.py", "--help"]
