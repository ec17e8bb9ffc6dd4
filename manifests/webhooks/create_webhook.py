"""Have the MLflow server tell a URL about every alias that moves: python create_webhook.py https://...

The tracking server is that of MLFLOW_TRACKING_URI, and the secret that of WEBHOOK_SECRET.
"""

import os
import sys

from mlflow import MlflowClient
from mlflow.entities.webhook import WebhookEvent

client = MlflowClient()
events = [WebhookEvent.from_str("model_version_alias.created")]
webhook = client.create_webhook(
    "champion", sys.argv[1], events, description="crossface", secret=os.environ["WEBHOOK_SECRET"]
)
print(f"webhook {webhook.webhook_id}: {client.test_webhook(webhook.webhook_id)}")
