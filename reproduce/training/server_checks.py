"""Whether the vLLM server of a training answers."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

from reproduce.core.files import UserError

SECONDS = 5.0
"""Until a server that does not answer is taken for none."""


def check_server(address: str) -> None:
    """Ask `ADDRESS/health`, past any proxy. Raises UserError, in one line, where nothing answers or what answers is not
    ready."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{address.rstrip('/')}/health", timeout=SECONDS):
            return
    except urllib.error.HTTPError as error:
        reason = f"it answers with {error.code}"
        error.close()
    except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
    raise UserError(
        f"hardware.vllm_server={address}: no vLLM server answers there ({reason}); start one, or set "
        "hardware.training_engine=colocate or transformers"
    )
