"""What holds each rule of the safety catalogue, tests or scenarios: R1-R17 for routers, F1-F18 for nodes; what is open.

R1 exact prefixes, R2 limits, R3 GTSM, R4 MD5, R5 next hop and path, R6 edges accept nothing, R7 aggregate, R8 roles,
R9 origin validation, R10 blackholes, R11 hold time and BFD, R12 graceful restart, R13 malformed updates, R14 routers
that stop reading, R15 own AS, R16 damping, R17 multipath. F1 one edge sick, F2 all backends down from one node, F3
from every node, F4 the last node, F5 flapping checks, F6 cascades, F7 fail static, F8 dead checkers, F9 ExaBGP hung,
F10 lost uplinks, F11 split views, F12 skewed configurations, F13 clocks, F14 storms, F15 cold start, F16 drain, F17
operator's errors, F18 rollback.
"""

import ast
import functools
from pathlib import Path

import pytest

from edge.text import strictyaml
from lab.scenario import parse

TESTS = Path(__file__).parent
SCENARIOS = TESTS.parent / "containerlab" / "scenarios"
HELD: dict[str, str] = {
    "R1": "bgp/kits/test_attacks.py::test_r1_nothing_but_its_own_vips "
    "lab/test_router_policy.py::test_an_edge_can_bring_in_no_prefix_but_its_vips",
    "R2": "bgp/kits/test_attacks.py::test_r2_an_edge_that_announces_the_world_is_cut_off_alone",
    "R3": "bgp/kits/test_sessions.py::test_r3_r4_no_session_with_a_wrong_key_or_from_further_away",
    "R4": "bgp/kits/test_sessions.py::test_r3_r4_a_forged_segment_ends_nothing",
    "R5": "bgp/kits/test_attacks.py::test_r5_no_next_hop_but_itself "
    "bgp/kits/test_attacks.py::test_r5_no_path_but_its_own_as "
    "bgp/kits/test_attacks.py::test_r5_of_its_communities_only_the_own_set_stays",
    "R6": "bgp/kits/test_sessions.py::test_r6_an_edge_is_told_nothing",
    "R7": "bgp/kits/test_sessions.py::test_r7_with_every_edge_gone_the_aggregate_stays",
    "R8": "bgp/kits/test_attacks.py::test_r8_a_route_that_came_from_elsewhere_is_refused",
    "R10": "bgp/kits/test_attacks.py::test_r10_a_blackhole_is_nobodys_to_ask_for_unless_named "
    "bgp/kits/test_sessions.py::test_r10_a_named_edge_may_have_its_own_vip_discarded",
    "R11": "bgp/kits/test_sessions.py::test_r11_an_edge_that_falls_silent_is_gone_after_the_hold_time "
    "bgp/kits/test_sessions.py::test_r11_r12_an_edge_whose_bfd_falls_silent_is_gone_at_once",
    "R12": "bgp/kits/test_sessions.py::test_r12_a_promise_to_restart_keeps_no_route "
    "bgp/test_graceful_frr.py::test_without_bfd_a_dead_node_s_routes_stay_for_the_whole_restart_time "
    "bgp/kits/test_kits.py::test_graceful_restart_without_bfd_is_refused",
    "R13": "bgp/kits/test_attacks.py::test_r13_a_malformed_update_costs_its_prefix_not_its_session",
    "R14": "bgp/test_faults_frr.py::test_a_router_that_stops_reading_is_let_go_by_hold_time "
    "bgp/test_speaker.py::test_a_router_that_reads_nothing_keeps_no_other_from_being_told",
    "R15": "lab/test_router_policy.py::test_a_site_never_takes_its_own_vip_back_from_transit",
    "R16": "bgp/kits/test_attacks.py::test_r16_ten_flaps_suppress_nothing "
    "edge/test_damping.py::test_no_sequence_of_checks_brings_a_router_to_suppress_the_prefix",
    "R17": "bgp/kits/test_attacks.py::test_r17_edges_of_different_ases_share_the_load",
    "F1": "edge/test_daemon.py::test_an_interface_that_is_lost_withdraws_until_it_is_back "
    "edge/test_daemon.py::test_a_forwarder_that_hangs_withdraws_when_its_tables_are_stale "
    "edge/test_sentinel.py::test_a_packet_that_comes_out_wrong_twice_is_a_fault_until_it_comes_out_right",
    "F2": "edge/test_node.py::test_backends_that_all_look_down_cost_preference_and_are_all_used",
    "F3": "edge/test_announce.py::test_what_backends_look_like_never_withdraws "
    "edge/test_fleet_model.py::test_checkers_that_all_die_at_once_leave_every_node_announcing "
    "edge/test_panic.py::test_no_sequence_of_returns_within_the_settle_time_moves_one_that_comes_back",
    "F4": "edge/test_orders.py::test_the_last_announcer_is_not_drained_without_force "
    "edge/test_fleet_model.py::test_three_nodes_never_all_withdraw_in_any_order_of_drains "
    "lab/test_edge_node.py::test_a_term_drains_lingers_and_ends_the_daemon",
    "F5": "edge/test_health.py::test_flapping_for_ten_minutes_is_two_transitions_at_most "
    "edge/test_damping.py::test_a_check_that_alternates_each_second_for_ten_minutes_is_two_updates_at_most "
    "edge/test_velocity.py::test_no_sequence_takes_more_out_in_a_window_than_its_share",
    "F8": "edge/checks/test_checking.py::test_whatever_a_checker_does_its_checks_are_stale_in_time_and_nobody_waits "
    "bgp/test_faults_frr.py::test_a_babbling_relay_is_replaced_and_holds_nothing_that_nobody_vouches_for "
    "bgp/test_faults_frr.py::test_the_lease_of_one_vip_is_its_own",
    "F9": "bgp/test_lab_frr.py::test_a_stopped_exabgp_is_killed_and_restarted",
    "F12": "edge/test_skew.py::test_by_default_a_node_serves_on_and_says_what_it_sees "
    "edge/test_skew.py::test_an_outvoted_node_that_is_told_to_leaves_as_a_drain_does_and_comes_back_when_it_agrees "
    "edge/test_skew.py::test_of_nodes_that_see_each_other_those_who_are_outvoted_never_are_most_of_all "
    "edge/test_skew.py::test_the_last_announcer_stays_whatever_others_carried "
    "edge/test_skew_frr.py::test_the_one_with_another_pool_leaves_when_the_others_agree_and_comes_back "
    "bgp/bmp/test_routers.py::test_another_node_s_digest_is_read_though_the_policy_may_take_it_away",
    "F13": "edge/test_standing.py::test_an_order_ends_after_its_time_whatever_the_wall_clock_does "
    "test_architecture.py::test_a_core_does_no_io_and_reads_no_clock",
    "F14": "edge/checks/test_schedule.py::test_thirty_two_edges_that_start_together_do_not_ask_a_backend_together",
    "F15": "edge/test_node.py::test_nothing_is_announced_before_every_backend_has_a_result_and_a_table_is_loaded "
    "edge/test_forwarding.py::test_tables_through_which_packets_do_not_come_are_a_failure_until_they_do "
    "edge/test_daemon.py::test_nothing_is_said_before_every_check_has_a_result_and_a_table_is_loaded",
    "F16": "lab/test_main_job.py::test_no_change_of_an_edge_breaks_one_of_two_thousand_connections "
    "lab/test_router_policy.py::test_a_drained_edge_leaves_the_set_before_it_withdraws",
    "F17": "edge/test_config_rules.py::test_one_wrong_thing_gives_one_error_at_its_place "
    "edge/test_daemon.py::test_a_reload_of_what_cannot_be_followed_is_told_and_changes_nothing",
    "F18": "edge/test_daemon.py::test_a_rollback_follows_what_ran_before_in_less_than_a_second",
}
PLAYED: dict[str, str] = {
    "F1": "forwarder-detached",
    "F2": "checker-lies-one-node",
    "F3": "checkers-lie-everywhere",
    "F4": "last-node-refused",
    "F5": "checker-flaps",
    "F6": "cascade-overload",
    "F7": "edge-restart xdp-swap edge-upgrade",
    "F8": "daemon-killed relay-killed checker-killed exabgp-killed announcer-babbles",
    "F9": "exabgp-frozen",
    "F10": "uplink-lost uplinks-lost uplink-one-way",
    "F11": "views-split",
    "F12": "config-skew config-skew-outvoted",
    "F16": "drain-under-load edge-drain vip-drain site-drain backend-restart",
    "F17": "bad-config backend-drain",
    "F18": "rollback",
}
"""The scenarios of containerlab/scenarios that show a rule on a whole lab."""
OPEN = {
    "R9": "origin validation is between routers and a validator: docs/routers.md says what to publish",
}


@functools.cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((TESTS / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize(("rule", "named"), [(rule, test) for rule, tests in HELD.items() for test in tests.split()])
def test_a_rule_is_held_by_tests_that_exist(rule: str, named: str) -> None:
    path, _, name = named.partition("::")
    assert name in names_in(path), rule


@pytest.mark.parametrize(("rule", "named"), [(rule, name) for rule, names in PLAYED.items() for name in names.split()])
def test_a_rule_is_played_by_scenarios_that_exist_and_say_so(rule: str, named: str) -> None:
    file = SCENARIOS / f"{named}.yml"
    assert rule in parse.decode(strictyaml.load(file.read_text(), str(file))).covers


def test_every_rule_is_held_or_said_to_be_open() -> None:
    rules = {f"R{n}" for n in range(1, 18)} | {f"F{n}" for n in range(1, 19)}
    assert HELD.keys() | PLAYED.keys() | OPEN.keys() == rules
    assert not (HELD.keys() | PLAYED.keys()) & OPEN.keys()
