"""Names of the files in a run folder."""

LAST, BEST = "last.safetensors", "best.safetensors"
RESUME = "resume.safetensors"  # where LAST holds the weights of the best epoch: the state that training continues from
RECIPE, ENVIRONMENT, METRICS = "recipe.toml", "environment.json", "metrics.csv"
REPORT, LOCK = "report.json", "run.lock"
PLOTS, TEXT, PAGE = "plots", "report.md", "report.html"  # the page is written last
TENSORBOARD, MLFLOW = "tensorboard", "mlflow.json"  # of --logger: the folder of event files; where the run is in MLflow
RUN_FILES = (LAST, BEST, RESUME, RECIPE, ENVIRONMENT, METRICS, REPORT, LOCK, PLOTS, PAGE, TEXT, TENSORBOARD, MLFLOW)
