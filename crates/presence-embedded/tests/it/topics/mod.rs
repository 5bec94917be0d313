//! The store of a cluster against its contract, and the contract against stores that break it.

mod broken;
mod faults;
mod outbox;
mod rules;

use presence_embedded::TopicMemory;
use presence_testkit::conformance;

use self::broken::Broken;
use self::rules::Fault;

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    let store = TopicMemory::new();
    conformance::topics(async || store.connect()).await;
    conformance::topics_after_loss(async || store.connect(), async || store.wipe()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_what_waits_to_be_carried_elsewhere() {
    let store = TopicMemory::with_webhooks();
    conformance::outbox(async || store.connect()).await;
    let store = TopicMemory::new();
    conformance::outbox_without_webhooks(async || store.connect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_what_the_outside_is_told() {
    let store = TopicMemory::with_webhooks();
    conformance::hooks(async || store.connect()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_keeps_what_the_outside_is_told_while_time_stands_still() {
    let store = TopicMemory::with_webhooks();
    conformance::hooks(async || store.connect()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_keeps_what_waits_while_time_stands_still() {
    let store = TopicMemory::with_webhooks();
    conformance::outbox(async || store.connect()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_keeps_the_contract_while_time_stands_still() {
    let store = TopicMemory::new();
    conformance::topics(async || store.connect()).await;
    conformance::topics_after_loss(async || store.connect(), async || store.wipe()).await;
}

#[tokio::test(start_paused = true)]
async fn a_wrapper_that_breaks_nothing_keeps_the_contract() {
    check(Fault::None).await;
}

/// A store with this fault is caught by the clause named.
macro_rules! caught {
    ($($name:ident: $fault:ident, $clause:literal;)*) => {
        $(
            #[tokio::test(start_paused = true)]
            #[should_panic(expected = $clause)]
            async fn $name() {
                check(Fault::$fault).await;
            }
        )*
    };
}

caught! {
    late_puts_that_win_are_caught: LatePutsWin, "a_late_put_of_an_older_connection_is_refused";
    epochs_compared_as_texts_are_caught: EpochsAreTexts, "a_late_put_of_an_older_connection_is_refused";
    refusals_without_a_word_are_caught: RefusalsUntold, "a_removal_removes_exactly_what_it_names";
    refusals_with_another_token_are_caught: RefusalsWithOwnToken, "a_removal_removes_exactly_what_it_names";
    late_leaves_that_win_are_caught: LateLeavesWin, "a_late_leave_of_an_older_connection_does_nothing";
    leaves_of_nothing_but_the_same_token_are_caught: ExactLeavesOnly, "a_late_leave_of_an_older_connection_does_nothing";
    the_last_of_one_epoch_winning_is_caught: LastOfOneEpochWins, "of_two_nodes_that_begin_one_epoch_the_first_has_it";
    a_condition_that_is_ignored_is_caught: ConditionsIgnored, "what_was_read_is_replaced_and_nothing_else";
    a_fence_that_is_forgotten_is_caught: FencesForgotten, "a_removal_removes_exactly_what_it_names";
    hiding_that_is_forgotten_is_caught: HidingForgotten, "who_hides_is_not_put_by_who_has_not_heard_of_it";
    a_deadline_that_is_ignored_is_caught: DeadlinesIgnored, "a_write_after_its_deadline_does_nothing";
    an_older_generation_winning_is_caught: OlderGenerationsWin, "an_older_generation_is_refused";
    nodes_as_floating_point_numbers_are_caught: NodesAreFloats, "nodes_are_told_apart_by_every_bit";
    a_refusal_that_ends_the_write_is_caught: RefusalsEndTheWrite, "nodes_are_told_apart_by_every_bit";
    doing_the_first_op_only_is_caught: FirstOpOnly, "a_removal_removes_exactly_what_it_names";
    doing_ops_in_another_order_is_caught: OpsBackwards, "a_write_does_all_its_ops_in_order";
    a_repetition_that_changes_is_caught: RepetitionsChange, "writing_it_again_changes_nothing";
    an_epoch_that_stays_is_caught: EpochStays, "goes on with its old epoch";
    a_version_that_starts_again_is_caught: VersionsStartAgain, "not greater than that of the time before";
    a_first_version_that_follows_something_is_caught: FromIsNeverZero, "an_emptied_map_begins_anew";

    outcomes_in_another_order_are_caught: OutcomesBackwards, "answers_are_in_the_order_of_the_questions";
    maps_in_another_order_are_caught: MapsBackwards, "answers_are_in_the_order_of_the_questions";
    names_without_case_are_caught: NamesWithoutCase, "subjects_are_told_apart_by_kind_and_every_character";
    places_of_one_kind_are_caught: PlacesOfOneKind, "subjects_are_told_apart_by_kind_and_every_character";

    a_lost_public_status_is_caught: PublicStatusesLost, "profiles_are_read_as_they_were_written";
    lost_stays_are_caught: StaysLost, "sessions_are_read_as_they_were_written";
    lost_words_are_caught: WordsLost, "members_are_read_as_they_were_written";
    a_meta_written_anew_is_caught: MetasWrittenAnew, "metas_of_all_scripts_and_full_length_are_kept";
    a_patch_with_less_in_it_is_caught: PatchesShort, "patches_carry_records_as_they_were_written";

    a_lost_patch_is_caught: PatchesLost, "was not heard in 20s";
    a_doubled_patch_is_caught: PatchesDoubled, "an_emptied_map_begins_anew";
    patches_out_of_order_are_caught: PatchesSwapped, "a_follower_hears_each_patch_once_and_in_order";
    silence_to_the_writer_is_caught: OwnUnheard, "ones_own_patches_are_heard";
    following_the_first_of_many_is_caught: FirstFollowedOnly, "was not heard in 20s";
    following_that_begins_late_is_caught: FollowedLate, "an_emptied_map_begins_anew";
    following_that_is_counted_is_caught: FollowingCounted, "following_twice_is_following_once";
    following_for_ever_is_caught: NeverUnfollowed, "following_twice_is_following_once";
    unfollowing_for_all_is_caught: UnfollowedForAll, "each_node_follows_for_itself";
    ephemeral_messages_cut_short_are_caught: LastEphemeralOnly, "ephemeral_messages_are_heard_as_they_were_told";
    ephemeral_messages_to_the_wrong_ones_are_caught: EphemeralsToAll, "ephemeral_messages_go_to_followers_of_their_subject_only";

    silent_comparisons_are_caught: ComparisonsSilent, "comparing_tells_the_versions_of_what_is_followed_and_has_changed";
    comparisons_with_old_versions_are_caught: ComparisonsOld, "comparing_tells_the_versions_of_what_is_followed_and_has_changed";
    comparisons_without_empty_maps_are_caught: ComparisonsOfFullMaps, "comparing_tells_that_a_map_is_empty_now";
    comparisons_of_what_was_followed_are_caught: ComparisonsOfUnfollowed, "comparing_does_not_tell_what_is_not_followed";

    a_lapsed_lease_that_is_new_is_caught: LapsedIsNew, "a_lapsed_lease_goes_on_when_it_is_renewed";
    a_running_lease_that_is_marked_dead_is_caught: RunningMarkedDead, "a_running_lease_is_not_marked_dead";
    dead_nodes_revived_are_caught: DeadRevived, "a_lapsed_lease_is_marked_dead_for_ever";
    sparing_unknown_nodes_is_caught: UnknownSpared, "an_incarnation_nobody_knows_can_be_marked_dead";
    marking_all_generations_dead_is_caught: GenerationsMarkedDead, "the_next_generation_of_a_dead_node_lives";
    nameless_leases_are_caught: LeasesNameless, "leases_are_listed_with_their_names";
    leases_that_are_not_listed_are_caught: OwnLeaseOnly, "leases_are_listed_with_their_names";
    short_leases_are_caught: LeasesShort, "a_lease_is_new_and_then_goes_on";
    leases_never_forgotten_are_caught: NeverForgotten, "what_is_forgotten_is_new";
    a_secret_for_each_is_caught: SecretForEach, "all_nodes_share_one_secret";

    reaping_nothing_is_caught: NothingReaped, "reaping_removes_the_entries_of_one_incarnation_only";
    reaping_another_generation_is_caught: GenerationsReaped, "reaping_removes_the_entries_of_one_incarnation_only";
    reaping_profiles_is_caught: ProfilesReaped, "reaping_removes_the_entries_of_one_incarnation_only";
    reaping_for_another_reason_is_caught: ReapedAsLeft, "reaping_is_told_as_a_lost_node";
    reaping_that_stops_early_is_caught: ReapedInPart, "reaping_goes_on_where_another_node_stopped";
    reaping_without_end_is_caught: ReapedForEver, "that there may be more";
    a_last_write_that_is_looked_at_is_caught: LastWritesNoted, "what_was_a_last_write_is_not_looked_at_when_reaping";
    a_last_write_for_ever_is_caught: LastWritesForEver, "a_writer_that_comes_back_after_its_last_write_is_reaped";

    a_loss_that_is_not_told_is_caught: LossUntold, "comparing_tells_every_node_that_data_was_lost";
    a_loss_that_is_told_for_ever_is_caught: LossForEver, "comparing_tells_a_loss_once";
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a_map_written_again_has_a_new_epoch_and_is_heard")]
async fn an_epoch_that_outlives_a_loss_is_caught() {
    check_after_loss(&TopicMemory::new(), Fault::EpochStays).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "what_was_lost_is_not_there")]
async fn a_suite_that_loses_nothing_notices() {
    let store = TopicMemory::new();
    conformance::topics_after_loss(async || store.connect(), async || {}).await;
}

async fn check(fault: Fault) {
    let store = TopicMemory::new();
    let shared = broken::Shared::default();
    conformance::topics(async || Broken::new(&store, fault, &shared)).await;
    check_after_loss(&store, fault).await;
}

async fn check_after_loss(store: &TopicMemory, fault: Fault) {
    let shared = broken::Shared::default();
    let connect = async || Broken::new(store, fault, &shared);
    conformance::topics_after_loss(connect, async || store.wipe()).await;
}
