//! The suite that every [`PeerStore`] passes: the promises of the trait, one small case each.

mod bans;
mod bounds;
mod crud;
mod events;
mod learn;
mod outcome;
mod patches;

use crate::store::PeerStore;
use outcome::Outcome;

/// Runs every case against a fresh, empty store from `make`.
///
/// Needs no particular executor, no disk and no clock. Expects a healthy store that nobody else writes to.
///
/// ```
/// # async fn check() {
/// btcfed_core::testing::store_conformance(btcfed_core::testing::MemoryStore::new).await;
/// # }
/// ```
///
/// # Panics
/// On the first promise that is broken, with the name of the case, the place and both values.
pub async fn store_conformance<F, S>(mut make: F)
where
    F: FnMut() -> S,
    S: PeerStore,
{
    macro_rules! cases {
        ($($module:ident: $($case:ident)+;)+) => {$($({
            let name = concat!(stringify!($module), "::", stringify!($case));
            let store = make();
            judge(name, Box::pin($module::$case(&store)).await);
        })+)+};
    }
    cases! {
        crud:
            a_fresh_store_is_empty_and_well
            a_created_peer_is_read_back_as_it_was
            a_second_create_is_refused_and_changes_nothing
            an_update_replaces_everything_known
            an_update_of_an_unknown_peer_is_refused
            a_deleted_peer_is_gone_and_remembered
            a_delete_of_an_unknown_peer_is_refused
            peers_are_listed_in_the_order_of_their_keys
            pages_hold_every_peer_exactly_once
            peers_are_found_by_status_and_counted
            peers_are_found_by_address;
        patches:
            a_patch_applies_in_order_and_as_one
            a_patch_that_fails_at_its_end_changes_nothing
            bulk_creation_is_all_or_nothing
            an_empty_patch_changes_nothing
            an_old_snapshot_never_changes
            contact_is_counted
            contact_with_strangers_is_not_counted;
        bans:
            a_ban_marks_the_peer_and_keeps_its_reason
            lifting_a_ban_clears_the_mark
            lifting_no_ban_is_refused
            a_ban_is_not_lifted_by_contact_or_update
            a_ban_outlives_the_peer_it_refuses
            an_unknown_peer_and_a_network_can_be_banned
            a_later_ban_replaces_an_earlier_one
            a_ban_that_has_ended_refuses_nobody;
        learn:
            a_record_of_a_stranger_adds_it
            a_newer_record_wins_and_an_older_one_is_ignored
            a_signed_record_leaves_the_operators_addresses_alone
            what_the_operator_forgot_is_never_resurrected
            what_the_operator_forgot_comes_back_by_the_operator
            what_the_node_forgot_comes_back_only_with_a_higher_seq
            leaving_removes_a_peer_nobody_chose
            leaving_keeps_a_peer_the_operator_chose
            a_stranger_that_leaves_is_not_added
            a_banned_peer_teaches_nothing;
        bounds:
            a_name_at_its_limit_is_kept_and_one_past_is_refused
            a_note_at_its_limit_is_kept_and_one_past_is_refused
            the_operator_may_write_more_addresses_than_others;
        events:
            every_change_is_told_once_and_in_order
            a_refused_patch_is_not_told
            every_subscriber_hears_everything
            a_slow_subscriber_learns_how_much_it_missed
            a_subscriber_hears_nothing_of_the_past
            flushing_leaves_nothing_waiting_and_changes_nothing
            the_generation_never_falls_and_grows_with_saves
            a_reload_without_an_outside_change_changes_nothing;
    }
}

/// Panics when a case failed.
fn judge(case: &str, outcome: Outcome) {
    if let Err(failure) = outcome {
        panic!("store_conformance: {case}: {failure}");
    }
}
