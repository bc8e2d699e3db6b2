"""Each fault raises the alert that is about it, and no other: the delivered rules, evaluated by a real Prometheus."""

import time

from conftest import Scene
from langsmith_server import PERSONAL_KEY, LangSmith
from provider import DEAD_GRANTS, DOWN, UNKNOWN_CLIENT


def wait_for_expiry():
    """The provider's tokens are valid for one second."""
    time.sleep(1.1)


def test_a_server_that_works_raises_no_alert(scene):
    scene.watch()
    wait_for_expiry()
    assert {answer.json()["status"] for answer in scene.traffic()} == {"completed"}
    scene.stays(set())
    assert scene.prometheus.query('sum(agent_auth_refreshes_total{provider="acme", outcome="refreshed"})')[0] >= 12


def test_a_provider_that_is_down(scene):
    scene.watch()
    scene.provider.behaves = DOWN
    wait_for_expiry()
    assert {answer.json()["code"] for answer in scene.traffic()} == {"provider_unavailable"}
    scene.only("AgentAuthProviderFailing")


def test_a_provider_that_is_gone(scene):
    scene.watch()
    scene.provider.stop()
    wait_for_expiry()
    assert {answer.json()["code"] for answer in scene.traffic()} == {"provider_unavailable"}
    scene.only("AgentAuthProviderFailing")


def test_grants_that_are_dead(scene):
    scene.watch()
    scene.provider.behaves = DEAD_GRANTS
    wait_for_expiry()
    assert {answer.json()["status"] for answer in scene.traffic()} == {"pending"}
    scene.only("AgentAuthGrantsDying")


def test_a_client_that_the_provider_does_not_accept(scene):
    scene.watch()
    scene.provider.behaves = UNKNOWN_CLIENT
    wait_for_expiry()
    assert {answer.json()["code"] for answer in scene.traffic()} == {"provider_misconfigured"}
    scene.only("AgentAuthProviderRejectsClient")


def test_a_database_that_is_away(scene):
    scene.watch()
    scene.proxy.cut()
    assert scene.authenticate("user-0").json()["code"] == "database_unavailable"
    scene.only("AgentAuthDatabaseUnavailable")


def test_a_listener_that_is_cut(scene):
    scene.watch()
    scene.proxy.cut_listeners()
    scene.only("AgentAuthListenerDisconnected")
    assert {answer.json()["status"] for answer in scene.traffic()} == {"completed"}
    scene.stays({"AgentAuthListenerDisconnected"})


def test_an_audit_log_that_cannot_be_written(scene):
    scene.watch()
    scene.sql("ALTER TABLE audit_events RENAME TO audit_events_away")
    assert scene.authenticate("somebody else").json()["code"] == "audit_unavailable"
    scene.only("AgentAuthAuditNotWritten")


def test_a_bug(scene):
    scene.watch()
    # No statement of ours expects this.
    scene.sql("ALTER TABLE providers RENAME COLUMN auth_url TO auth_url_away")
    assert scene.authenticate("somebody else").json()["code"] == "internal_error"
    scene.only("AgentAuthInternalErrors")


def test_a_server_that_is_gone(scene):
    scene.watch()
    scene.broker._process.kill()
    scene.broker._process.wait()
    scene.is_killed = True
    scene.only("AgentAuthDown")


def test_a_langsmith_that_is_gone(tmp_path):
    langsmith = LangSmith()
    scene = Scene(tmp_path, {"IDENTITY": "langsmith", "LANGSMITH_ENDPOINT": langsmith.endpoint}, PERSONAL_KEY)
    try:
        scene.watch()
        langsmith.stop()
        # Who was identified less than a minute ago is still known; a new key is not.
        answers = {scene.authenticate("user-0", f"lsv2_pt_{number:032}_0123456789").json()["code"] for number in range(8)}
        assert answers == {"identity_unavailable"}
        scene.only("AgentAuthIdentityUnavailable")
    finally:
        scene.stop()


def test_people_whose_consents_cannot_be_completed(scene):
    scene.watch()
    scene.provider.behaves = DEAD_GRANTS
    assert {scene.come_back(f"new-{number}").status_code for number in range(12)} == {502}
    scene.only("AgentAuthConsentsFailing")


def test_people_whose_consents_an_application_confirms_and_cannot_be_completed(scene):
    scene.create({"provider_id": "strict", "consent": "verify", "return_urls": ["https://app.example/connected"]})
    scene.watch()
    scene.provider.behaves = DEAD_GRANTS
    assert {scene.confirm(f"new-{number}", "strict").json()["code"] for number in range(12)} == {"provider_error"}
    scene.only("AgentAuthConsentsFailing")
