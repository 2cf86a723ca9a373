//! What every engine must do, as stories that know nothing but the trait.
//!
//! An engine joins with one line: a name, and a function that opens an empty store.

mod containers;
mod documents;
mod lists;
mod logs;
mod loss;
mod properties;
mod queue;
pub(super) mod redis_server;
mod registry;
mod vocabulary;

use self::vocabulary::Subject;
use crate::base::clock::Clock;
use crate::store::model::ModelStore;
use crate::store::sqlite::{SqliteOptions, SqliteStore};

/// Runs every story on an engine.
macro_rules! contract {
    ($engine:ident, $open:expr) => {
        contract!($engine, $open;
            queue: numbers_rise_and_a_job_reads_back_as_it_was_given,
                a_key_gives_the_same_job_back,
                a_full_queue_refuses,
                the_best_job_over_all_classes_goes_first,
                a_class_named_twice_gives_its_jobs_once,
                ready_says_what_waits,
                a_claim_begins_the_next_attempt;
            loss: a_lost_job_ends,
                a_lost_job_that_may_runs_again_until_its_runs_are_used_up,
                a_refused_job_goes_back_uncharged_and_ends_at_the_fifth_refusal,
                a_stale_attempt_can_do_nothing,
                a_lease_that_runs_out_loses_the_job,
                only_the_owner_renews,
                a_job_that_waits_too_long_ends,
                after_an_outage_leases_and_limits_begin_anew,
                a_pending_job_is_cancelled_at_once,
                a_running_job_is_cancelled_by_its_worker,
                a_cancelled_job_does_not_run_again;
            logs: output_gets_offsets_by_stream,
                repeats_are_dropped_and_holes_refused,
                what_is_gone_is_passed_over_and_said_so,
                an_end_may_be_said_twice,
                a_log_reads_back_in_pages_of_any_size,
                large_chunks_come_back_byte_for_byte,
                every_cursor_has_its_answer,
                an_older_attempt_stays_readable,
                too_much_output_is_removed_from_the_front_and_said_so,
                one_bad_write_does_not_hold_up_the_others;
            lists: pages_go_from_new_to_old,
                lists_are_filtered_by_account_and_status,
                jobs_are_counted_by_status_in_all_and_by_account,
                jobs_are_found_on_their_worker,
                retention_removes_the_oldest_ends_first,
                a_removed_job_is_gone_with_its_key_and_its_number_is_not_used_again;
            registry: a_worker_is_kept_and_superseded_by_a_later_boot,
                draining_survives_a_registration,
                an_account_goes_by_name_and_email,
                of_two_changes_of_an_account_neither_undoes_the_other,
                tokens_end_with_their_account,
                tokens_are_found_by_their_account,
                the_signing_key_stays;
            containers: a_container_starts_again_in_the_same_log,
                what_is_no_container_at_rest_does_not_go_on,
                a_container_is_kept_until_it_is_removed,
                containers_are_not_among_the_jobs;
            documents: a_document_changes_only_as_it_was_read,
                documents_change_all_or_none,
                a_document_expires,
                documents_are_read_backwards_in_pages,
                of_many_who_take_the_last_one_only_one_does;
        );
    };
    ($engine:ident, $open:expr; $($room:ident: $($story:ident),+;)+) => {
        mod $engine {
            $(mod $room {
                $(#[tokio::test]
                async fn $story() {
                    crate::store::contract::$room::$story(&($open)().await).await;
                })+
            })+
        }
    };
}

contract!(model, crate::store::contract::model);
contract!(sqlite, crate::store::contract::sqlite);
contract!(redis, crate::store::contract::redis);

/// Output kept per job in all stories: few enough bytes to get over.
const OUTPUT_BYTES: u64 = 100;

async fn model() -> Subject {
    let clock = Clock::manual(1_000_000);
    Subject::new(ModelStore::new(clock.clone(), OUTPUT_BYTES), clock, None)
}

async fn sqlite() -> Subject {
    let clock = Clock::manual(1_000_000);
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteOptions { output_bytes: OUTPUT_BYTES, ..SqliteOptions::default() };
    let store = SqliteStore::open(dir.path(), &options, clock.clone()).unwrap();
    Subject::new(store, clock, Some(dir))
}

async fn redis() -> Subject {
    let clock = Clock::manual(1_000_000);
    Subject::new(redis_server::store(OUTPUT_BYTES, clock.clone()), clock, None)
}
