"""The packet catalogue: its ids, and for those that are no described packet, where they are held instead.

`ELSEWHERE` names tests (file::function, below tests/), or says in a sentence what remains open.
"""

IDS = (
    *(f"L{n:02}" for n in range(1, 14)),
    *(str(n) for n in range(401, 431)),
    *(str(n) for n in range(601, 620)),
    *(f"T{n:02}" for n in range(1, 25)),
    *(f"I{n:02}" for n in range(1, 25)),
    *(f"U{n:02}" for n in range(1, 13)),
    *(f"E{n:02}" for n in range(1, 16)),
    *(f"B{n:02}" for n in range(1, 24)),
    *(f"S{n:02}" for n in range(1, 11)),
    *(f"H{n:02}" for n in range(1, 9)),
    *(f"X{n:02}" for n in range(1, 10)),
    *(f"P{n}" for n in range(1, 11)),
)
_MORE = "datapath/test_forward_more.py::"
_LIMITS = "datapath/test_forward_limits.py::"
_FUZZ = "datapath/test_forward_fuzz.py::"
_TRUE = "datapath/test_invariants.py::"
_PINNED = "datapath/test_pinned.py::"
_PROOFS = "datapath/test_forwarder_proofs.py::"
_LIBBPF = "datapath/test_libbpf.py::"
ELSEWHERE: dict[str, tuple[str, ...]] = {
    "L01": (f"{_MORE}test_l01_a_frame_below_14_bytes_is_refused_by_the_test_run_and_dropped_by_the_oracle",),
    "I03": (
        f"{_MORE}test_i03_every_checksum_is_answered_with_a_valid_one",
        f"{_MORE}test_i03_every_checksum_is_answered_with_a_valid_one_in_ipv6",
    ),
    "I11": (),
    "I24": (f"{_LIMITS}test_i24_a_flood_of_errors_to_one_vip_leaves_others_their_rate",),
    "U06": (f"{_LIMITS}test_u06_over_a_second_the_rate_is_kept",),
    "U08": ("lab/test_edge_node.py::test_a_handshake_through_the_edge_offers_segments_that_fit_the_tunnel",),
    "U09": ("lab/test_check.py::test_real_interfaces_are_found_out_and_each_remedy_mends",),
    "U11": (f"{_MORE}test_u11_headers_are_not_misread_when_the_kernel_splits_a_frame",),
    "U12": ("lab/test_data_path.py::test_a_narrow_link_in_the_middle_is_found_and_nothing_stalls",),
    "E11": (f"{_MORE}test_e11_without_headroom_the_packet_is_dropped_as_such",),
    "E15": (
        f"{_FUZZ}test_h01_p1_p8_e15_program_and_oracle_agree_on_mutants",
        f"{_MORE}test_e15_the_outer_checksum_is_right_where_its_sum_carries_twice",
    ),
    "B16": ("backend/test_run.py::test_a_host_that_cannot_serve_ends_it_with_the_reason",),
    "B17": ("backend/test_host.py::test_a_strict_reverse_path_check_is_refused_with_the_command",),
    "B18": (
        "backend/test_host.py::test_nobody_on_the_segment_learns_the_vip_by_arp",
        "backend/test_host6.py::test_nobody_on_the_segment_learns_a_vip_by_neighbour_discovery",
    ),
    "B19": ("lab/test_edge_node.py::test_a_flow_has_one_backend_by_why_by_every_program_and_on_the_wire",),
    "B20": ("backend/test_echo.py::test_a_datagram_is_answered_from_the_address_that_was_asked",),
    "B21": (),
    "S03": ("edge/test_plan.py::test_when_all_look_down_all_that_are_not_drained_are_used",),
    "S05": ("datapath/test_encode.py::test_s05_a_vip_that_is_a_machine_is_refused",),
    "S09": ("edge/test_plan.py::test_down_and_drained_backends_get_no_slots",),
    "S10": ("datapath/test_encode.py::test_s10_more_than_the_maps_hold_is_refused_with_every_reason",),
    "H01": (f"{_FUZZ}test_h01_the_mutants_reach_every_reason_and_note_that_a_mutant_can",),
    "H02": ("datapath/test_hashing.py::test_h02_flows_made_for_one_backend_of_another_seed_spread",),
    "H07": (),
    "H08": (),
    "X01": (
        "datapath/test_forward_live.py::test_x01_rows_of_the_edge_meet_the_same_on_a_live_interface",
        "datapath/test_forward_live.py::test_x01_rows_of_the_backend_meet_the_same_on_a_live_interface",
    ),
    "X02": ("lab/test_check.py::test_words_name_the_place_and_the_command_that_mends",),
    "X03": (
        "lab/test_render.py::test_every_peer_of_native_xdp_gets_a_passing_program",
        "lab/test_check.py::test_decision",
    ),
    "X04": (
        f"{_PINNED}test_kill_9_of_the_owner_and_its_successor_lose_no_packet",
        f"{_PINNED}test_replacing_the_program_under_traffic_loses_no_packet",
        f"{_PROOFS}test_a_program_replaced_a_hundred_times_under_load_loses_and_misroutes_nothing",
    ),
    "X05": (f"{_LIBBPF}test_an_mtu_too_large_for_native_names_the_limit",),
    "X06": (
        f"{_PROOFS}test_a_link_whose_peer_sends_on_more_queues_than_it_receives_on_is_refused_with_the_line_that_mends",
    ),
    "X07": (
        f"{_LIBBPF}test_missing_capabilities_are_named",
        f"{_LIBBPF}test_pins_outside_a_bpffs_name_the_mount_command",
    ),
    "X08": (
        f"{_PINNED}test_a_foreign_program_is_never_replaced",
        f"{_PROOFS}test_each_refusal_says_what_is_wrong_and_what_to_do",
    ),
    "X09": (f"{_PINNED}test_an_interface_deleted_and_made_anew_is_attached_again",),
    "P1": (
        f"{_TRUE}test_p1_a_packet_has_one_verdict_and_one_count",
        f"{_MORE}test_p1_counts_of_services_and_backends_are_the_oracles_choices",
    ),
    "P3": (f"{_TRUE}test_p3_a_header_that_leaves_is_valid",),
    "P5": (f"{_TRUE}test_p5_what_is_passed_is_untouched_and_what_is_no_vips_is_passed",),
    "P6": (
        f"{_TRUE}test_p6_the_order_of_packets_means_nothing",
        f"{_MORE}test_t05_i10_p6_a_flow_and_errors_about_it_have_one_backend_on_every_edge",
    ),
    "P7": (f"{_TRUE}test_p7_no_error_about_errors_fragments_broadcasts_and_martians",),
    "P8": (f"{_FUZZ}test_h01_p1_p8_e15_program_and_oracle_agree_on_mutants",),
    "P9": (
        f"{_TRUE}test_p9_no_program_aborts",
        f"{_PROOFS}test_a_thousand_swaps_of_tables_show_every_packet_one_generation",
    ),
    "P10": (
        f"{_MORE}test_p10_a_reader_meets_one_generation_or_the_next_whole",
        f"{_PROOFS}test_a_thousand_swaps_of_tables_show_every_packet_one_generation",
    ),
}
OPEN = {
    "I11": "an error about another site's flow goes to the local owner of its slot: only the history of slots tells",
    "B21": "the network's filter at the rack drops tunnels from outside; to a backend a forged edge is an edge",
    "H07": "GTSM and MD5 of the BGP sessions are the routing suite's configuration, no matter of a VIP",
    "H08": "public malformed captures are not in the tree; structure-aware mutants take their place (make hunt)",
}
# Rows of these hold the verdict of each packet, and not what the rest of the line asks for.
PARTLY = {
    "T10": "that flows of other backends are unaffected by a flood is not measured",
    "H04": "goodput beside a flood is not measured; what a packet of one costs is (make bench)",
    "H05": "that BGP stays up under carpet bombing is not measured; rates and lists are (test_forward_limits.py)",
    "H06": "that BGP and BFD stay up under a flood to the host is not measured; such packets have no rate here",
    "I10": "by four states of one program (test_forward_more.py), and 4,000 errors in the lab (test_data_path.py)",
    "E12": "that a change is followed in under a second is test_neighbours.py's",
    "S08": "that an entry is kept until routers stop sending is the planner's",
    "U10": "frames above one page are not handled: the program is not frags-aware",
}
