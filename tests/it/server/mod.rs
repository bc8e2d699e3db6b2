//! The running server and its binary: commands, start, stop, crashes, replicas, clean-up and what is stored.

mod command_line;
mod concurrent_callers;
mod crashes;
mod database_restarts;
mod jobs;
mod limits;
mod metric_labels;
mod metrics;
mod outages;
mod poolers;
mod refused_writes;
mod repeated_secrets;
mod replicas;
mod request_ids;
mod secrecy;
mod serving;
mod silent_database;
mod soak;
mod sockets;
mod stored_types;
mod sweep;
mod unread_bodies;
mod upgrades;
