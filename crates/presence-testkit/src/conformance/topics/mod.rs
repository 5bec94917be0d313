//! The suite for the contract of [`Topics`].

mod case;
mod comparing;
mod ephemerals;
mod fences;
mod hooks;
mod leases;
mod loss;
mod make;
mod node;
mod notices;
mod outbox;
mod reaping;
mod records;
mod slices;
mod writes;

use std::sync::Arc;

use presence_core::ports::{Hooks, Outbox, Topics};

use self::case::Case;
use self::comparing::*;
use self::ephemerals::*;
use self::fences::*;
use self::hooks::*;
use self::leases::*;
use self::notices::*;
use self::outbox::*;
use self::reaping::*;
use self::records::*;
use self::slices::*;
use self::writes::*;

/// Checks every clause of [`Topics`] that can be seen while the store works.
///
/// `connect` makes a link to the store for another node; the suite calls it a few times. The suite writes to subjects with
/// random names and holds leases of random nodes, so the store may have other users as long as they do not wipe it. After a
/// pass it leaves some thousand entries there, and no lease that runs. It writes numbers up to 2^53 - 1, except for node
/// ids, which use all their bits.
///
/// It waits for what has to come, and never for what must not come: that would arrive before something else does.
/// In a snapshot and in a patch, entries may be in any order.
///
/// # Panics
///
/// Panics if a clause does not hold.
pub async fn topics<T: Topics>(connect: impl AsyncFn() -> T) {
    let links = [Arc::new(connect().await), Arc::new(connect().await)];
    macro_rules! check {
        ($($clause:ident)*) => {
            $($clause(&Case::new(stringify!($clause), &links)).await;)*
        };
    }
    check! {
        a_subject_nobody_wrote_has_no_entries_and_no_version
        what_was_put_is_there_for_all
        a_removal_removes_exactly_what_it_names
        a_write_does_all_its_ops_in_order
        writing_it_again_changes_nothing
        the_same_token_with_another_record_replaces_it
        an_emptied_map_begins_anew

        the_newest_connection_owns_the_session
        a_late_put_of_an_older_connection_is_refused
        a_late_leave_of_an_older_connection_does_nothing
        a_leave_of_the_same_or_a_newer_connection_is_one
        of_two_nodes_that_begin_one_epoch_the_first_has_it
        what_was_read_is_replaced_and_nothing_else
        a_fence_outlives_what_it_fenced
        who_hides_is_not_put_by_who_has_not_heard_of_it
        a_write_after_its_deadline_does_nothing
        a_write_says_which_profile_is_there
        an_older_generation_is_refused
        nodes_are_told_apart_by_every_bit
        a_later_change_of_a_profile_wins
        a_refused_put_keeps_nothing_else_out
        of_concurrent_puts_of_one_epoch_a_single_one_is_done
        any_writes_mean_what_a_topic_map_says

        answers_are_in_the_order_of_the_questions
        empty_slices_are_fine
        subjects_are_told_apart_by_kind_and_every_character

        profiles_are_read_as_they_were_written
        sessions_are_read_as_they_were_written
        members_are_read_as_they_were_written
        metas_of_all_scripts_and_full_length_are_kept
        patches_carry_records_as_they_were_written

        a_follower_hears_each_patch_once_and_in_order
        ones_own_patches_are_heard
        what_changes_nothing_is_not_told
        every_reason_is_told
        following_has_begun_when_it_returns
        following_twice_is_following_once
        what_is_not_followed_any_more_is_not_heard
        each_node_follows_for_itself
        a_copy_kept_by_patches_is_the_map
        ephemeral_messages_are_heard_as_they_were_told
        ephemeral_messages_go_to_followers_of_their_subject_only

        comparing_tells_the_versions_of_what_is_followed_and_has_changed
        comparing_tells_that_a_map_is_empty_now
        comparing_does_not_tell_what_is_not_followed

        a_lease_is_new_and_then_goes_on
        leases_are_listed_with_their_names
        a_lapsed_lease_goes_on_when_it_is_renewed
        a_running_lease_is_not_marked_dead
        a_lapsed_lease_is_marked_dead_for_ever
        an_incarnation_nobody_knows_can_be_marked_dead
        the_next_generation_of_a_dead_node_lives
        what_is_forgotten_is_new
        all_nodes_share_one_secret

        reaping_removes_the_entries_of_one_incarnation_only
        reaping_leaves_what_a_newer_connection_has_taken_over
        reaping_is_told_as_a_lost_node
        reaping_goes_on_where_another_node_stopped
        nodes_may_reap_at_the_same_time
        reaping_one_that_has_nothing_ends
        what_was_a_last_write_is_not_looked_at_when_reaping
        a_writer_that_comes_back_after_its_last_write_is_reaped
    }
}

/// Checks every clause of [`Outbox`] that can be seen while the store works.
///
/// `connect` is that of [`topics`], to a store that was told to keep rows for webhooks. The suite acknowledges its own rows.
///
/// # Panics
///
/// Panics if a clause does not hold.
pub async fn outbox<T: Topics + Outbox>(connect: impl AsyncFn() -> T) {
    let links = [Arc::new(connect().await), Arc::new(connect().await)];
    macro_rules! check {
        ($($clause:ident)*) => {
            $($clause(&Case::new(stringify!($clause), &links)).await;)*
        };
    }
    check! {
        a_write_says_which_version_it_made
        what_is_due_leaves_a_row_with_its_version
        what_is_not_due_leaves_no_row
        what_changes_nothing_leaves_no_row
        a_newer_change_takes_the_place_of_the_row_before
        a_row_is_acknowledged_unless_there_is_a_newer_one
        queues_are_told_apart
        rows_are_due_when_they_are_old_enough
        the_oldest_rows_come_first_and_no_more_than_asked_for
        each_partition_has_its_rows
        reaping_leaves_a_row
    }
}

/// Checks what [`Outbox`] says of a store that was not told to keep rows for webhooks.
///
/// # Panics
///
/// Panics if the clause does not hold.
pub async fn outbox_without_webhooks<T: Topics + Outbox>(connect: impl AsyncFn() -> T) {
    let links = [Arc::new(connect().await), Arc::new(connect().await)];
    nothing_waits_for_webhooks_that_nobody_wants(&Case::new(
        "nothing_waits_for_webhooks_that_nobody_wants",
        &links,
    ))
    .await;
}

/// Checks every clause of [`Hooks`] that can be seen while the store works.
///
/// `connect` is that of [`outbox`]; nobody else queues events there.
///
/// # Panics
///
/// Panics if a clause does not hold.
pub async fn hooks<T: Topics + Outbox + Hooks>(connect: impl AsyncFn() -> T) {
    let links = [Arc::new(connect().await), Arc::new(connect().await)];
    macro_rules! check {
        ($($clause:ident)*) => {
            $($clause(&Case::new(stringify!($clause), &links)).await;)*
        };
    }
    check! {
        what_is_told_is_known_and_waits
        what_is_known_no_more_is_nothing
        nothing_to_tell_acknowledges_the_row
        each_change_is_told_by_one_node
        who_finds_nothing_to_tell_is_faster_too
        what_has_changed_again_stays_a_row
        numbers_grow_and_events_keep_their_order
        what_is_delivered_is_gone_and_nothing_else
        too_many_events_wait_as_a_row
        what_was_told_can_be_audited
    }
}

/// Checks what [`Topics`] says of a store that loses all its data while nodes follow subjects in it.
///
/// `connect` is that of [`topics`]; `wipe` loses the data and breaks no connection. Only the suite uses the store.
///
/// # Panics
///
/// Panics if a clause does not hold.
pub async fn topics_after_loss<T: Topics>(connect: impl AsyncFn() -> T, wipe: impl AsyncFn()) {
    let links = [Arc::new(connect().await), Arc::new(connect().await)];
    macro_rules! check {
        ($($clause:ident)*) => {
            $(loss::$clause(&Case::new(stringify!($clause), &links), &wipe).await;)*
        };
    }
    check! {
        what_was_lost_is_not_there
        comparing_tells_every_node_that_data_was_lost
        comparing_tells_a_loss_once
        a_map_written_again_has_a_new_epoch_and_is_heard
        a_lease_that_was_lost_is_new
        entries_written_again_are_reaped
        a_secret_that_was_lost_is_drawn_anew_and_shared
    }
}
