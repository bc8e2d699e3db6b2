//! Webhooks: where events are sent, and what is yet to be sent there.
//! Owns: the tables `webhooks` and `webhook_deliveries`.
//! Must not know: how a delivery is sent, or when another attempt makes sense.

pub mod deliveries;
pub(in crate::store) mod outbox;
pub mod queue;
pub mod records;
