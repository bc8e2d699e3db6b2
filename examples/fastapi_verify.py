"""A web application that makes sure who consented: the mode `verify`.

A person could send the URL of their own consent to somebody else, to get at that person's account. In this mode there is no token
until the application has confirmed that the browser which came back belongs to the user who began.

    uvicorn fastapi_verify:app --port 8000      then open http://127.0.0.1:8000/sign-in?user=ada
"""

import os
import secrets
from contextlib import asynccontextmanager

import httpx
from agent_auth import ApiError, Client
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import RedirectResponse
from starlette.middleware.sessions import SessionMiddleware

client = Client()  # LANGSMITH_API_URL and LANGSMITH_API_KEY
APP_URL = os.environ.get("APP_URL", "http://127.0.0.1:8000")
RETURN_URL = f"{APP_URL}/connected"


@asynccontextmanager
async def set_up(_):
    """An administrator does this once for the provider, or for all of them with CONSENT=verify."""
    url = f"{client.api_url}/v2/auth/providers/sample"
    async with httpx.AsyncClient(headers={"x-api-key": client.api_key}) as http:
        before = (await http.get(url)).raise_for_status().json()
        (await http.patch(url, json={"consent": "verify", "return_urls": [RETURN_URL]})).raise_for_status()
        yield
        # Only because the other examples use the same provider.
        await http.patch(url, json={name: before[name] for name in ("consent", "return_urls")})


app = FastAPI(lifespan=set_up)
# Keep the key in your settings, so that sessions outlive a restart.
app.add_middleware(SessionMiddleware, secret_key=secrets.token_hex(32))


def signed_in_user(request: Request) -> str:
    if user := request.session.get("user"):
        return user
    raise HTTPException(401, "Sign in first: /sign-in?user=NAME")


@app.get("/sign-in")
async def sign_in(request: Request, user: str):
    request.session["user"] = user  # your application checks a password here
    return RedirectResponse("/profile")


@app.get("/profile")
async def profile(request: Request):
    """What the user connected, or the way there."""
    user = signed_in_user(request)
    auth = await client.authenticate("sample", ["profile.read"], user, return_url=RETURN_URL)
    if auth.status != "completed":
        return RedirectResponse(auth.url)
    api = (await client.get_oauth_provider("sample")).auth_url.replace("/authorize", "/me")
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {auth.token}"}) as http:
        return {"user": user, "connected": (await http.get(api)).raise_for_status().json()["name"]}


@app.get("/connected")
async def connected(request: Request, auth_id: str, reference: str):
    """The browser comes back here after the consent. Who is signed in *in this browser* is what counts."""
    try:
        await client.confirm(auth_id, signed_in_user(request), reference)
    except ApiError as error:
        if error.status in (403, 404):
            raise HTTPException(403, "This consent was begun by somebody else, or has expired.")
        raise
    return RedirectResponse("/profile")
