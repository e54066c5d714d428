; The program for chips without LOAD and STORE, and without jumps at a phase mismatch: lsi53c895a.ss, by memory moves
; alone. The task that is on the bus is copied to a window, where every field has an address that is known; DSA always
; points there. What changes in it is copied back when the target leaves. The chip reaches its own registers by
; their bus address (`chip`), and the program changes instructions of its own.
;
; A phase mismatch stops the program; the driver writes t_rest and t_after, and loads TEMP.
;
; [1] LSI53C810A Technical Manual, chapter 6
; [2] SPI-2, chapter 10: messages

ARCH 810

; A task, offsets from DSA: as in lsi53c895a.ss.
ABSOLUTE t_select = 0x00, t_message = 0x08, t_command = 0x10, t_status = 0x18, t_reply = 0x20
ABSOLUTE t_rest = 0x28, t_after = 0x30, t_saved = 0x34, t_saved_after = 0x38, t_residue = 0x3c
ABSOLUTE t_saved_rest = 0x40, t_own = 0x48, t_list = 0x100
ABSOLUTE segments = 224
ABSOLUTE task = 0x100 + 8 * 224   ; bytes of it, and of what changes
ABSOLUTE changes = 0x50

ABSOLUTE int_phase = 1, int_negotiation = 2, int_rejected = 3, int_check = 6, int_hello = 7

ABSOLUTE m_complete = 0x00, m_extended = 0x01, m_save = 0x02, m_restore = 0x03, m_disconnect = 0x04
ABSOLUTE m_reject = 0x07, m_nop = 0x08, m_simple = 0x20
ABSOLUTE s_check = 0x02
ABSOLUTE disconnects = 0x80       ; SCNTL2.SDU: an end of the nexus is an error

; Registers, from `chip` on.
ABSOLUTE r_scntl3 = 0x03, r_sxfer = 0x05, r_dsa = 0x10, r_temp = 0x1c, r_scratcha = 0x34

EXTERNAL chip, window
EXTERNAL ring, ended, tags, targets, message, bucket

ENTRY hello, next, dispatch, accept, answer, refuse
ENTRY list_in, list_in_end, list_out, list_out_end, rest_in, rest_out, overrun

w_window:       DATA window
w_place:        DATA 0                          ; where the task in the window comes from
w_overrun:      DATA overrun
b_reject:       DATA m_reject
b_overrun:      DATA 0x80

hello:  INT int_hello

; The next task to start. An entry of 1 is none yet.
next:   MOVE SCRATCHB0 TO SFBR
        MOVE SFBR TO SCRATCHA0
        MOVE MEMORY 1, chip + r_scratcha, take + 4
take:   MOVE MEMORY 4, ring, w_place
        MOVE MEMORY 4, w_place, chip + r_scratcha
        MOVE SCRATCHA0 TO SFBR
        JUMP REL(idle), IF 0x01 AND MASK 0xfe
        CALL REL(fetch)
        MOVE MEMORY 4, window + t_saved, chip + r_temp
        SELECT ATN FROM t_select, REL(reselected)
        MOVE SCRATCHB0 + 4 TO SCRATCHB0
        JUMP REL(dispatch), WHEN NOT MSG_OUT
        MOVE FROM t_message, WHEN MSG_OUT
        JUMP REL(dispatch), WHEN NOT CMD
send:   MOVE FROM t_command, WHEN CMD

dispatch:
        RETURN, WHEN DATA_IN
        RETURN, IF DATA_OUT
        JUMP REL(finish), IF STATUS
        JUMP REL(hear), IF MSG_IN
        JUMP REL(speak), IF MSG_OUT
        JUMP REL(send), IF CMD
        INT int_phase

; Copies the task at w_place to the window.
fetch:  MOVE MEMORY 4, w_place, fetch_task + 4
fetch_task:
        MOVE MEMORY task, 0, window
        MOVE MEMORY 4, w_window, chip + r_dsa
        RETURN

; Copies what changes in a task from the window to where the task is.
store:  MOVE MEMORY 4, w_place, store_task + 8
store_task:
        MOVE MEMORY changes, window, 0
        RETURN

finish: MOVE FROM t_status, WHEN STATUS
        JUMP REL(check), IF s_check
        JUMP REL(dispatch), WHEN NOT MSG_IN
hear:   MOVE 1, message, WHEN MSG_IN
known:  JUMP REL(complete), IF m_complete
        JUMP REL(disconnect), IF m_disconnect
        JUMP REL(save), IF m_save
        JUMP REL(restore), IF m_restore
        JUMP REL(extended), IF m_extended
        JUMP REL(accept), IF m_nop
        INT int_rejected, IF m_reject
        JUMP REL(refuse)

complete:
        MOVE SCNTL2 & ~disconnects & 0xff TO SCNTL2
        CLEAR ACK
        WAIT DISCONNECT
        MOVE MEMORY 4, chip + r_temp, window + t_saved
        CALL REL(store)
        MOVE SCRATCHB1 TO SFBR
        MOVE SFBR TO SCRATCHA0
        MOVE MEMORY 1, chip + r_scratcha, give + 8
give:   MOVE MEMORY 4, window + t_own, ended
        MOVE SCRATCHB1 + 4 TO SCRATCHB1
        INTFLY
        JUMP REL(next)

; CHECK CONDITION: before any other command the host asks for the sense data.
check:  JUMP REL(dispatch), WHEN NOT MSG_IN
        MOVE 1, message, WHEN MSG_IN
        JUMP REL(known), IF NOT m_complete
        MOVE SCNTL2 & ~disconnects & 0xff TO SCNTL2
        CLEAR ACK
        WAIT DISCONNECT
        MOVE MEMORY 4, chip + r_temp, window + t_saved
        INT int_check

disconnect:
        MOVE SCNTL2 & ~disconnects & 0xff TO SCNTL2
        CLEAR ACK
        WAIT DISCONNECT
        CALL REL(store)
        JUMP REL(next)

idle:   WAIT RESELECT REL(signal)
        JUMP REL(reselected)
signal: MOVE CTEST2 TO SFBR                     ; reading it takes the signal
        JUMP REL(next)

save:   MOVE MEMORY 4, chip + r_temp, window + t_saved
        MOVE MEMORY 4, window + t_after, window + t_saved_after
        MOVE MEMORY 8, window + t_rest, window + t_saved_rest
accept: CLEAR ACK
        JUMP REL(dispatch)

restore:
        CALL REL(pointers)
        MOVE MEMORY 4, window + t_saved, chip + r_temp
        JUMP REL(accept)

answer: SET ATN
        JUMP REL(accept)

speak:  MOVE FROM t_reply, WHEN MSG_OUT
        JUMP REL(dispatch)

extended:
        CLEAR ACK
        MOVE 1, message + 1, WHEN MSG_IN
        JUMP REL(extended_2), IF 2
        JUMP REL(extended_3), IF 3
refuse: SET ATN
refuse_rest:
        CLEAR ACK
        JUMP REL(refuse_now), WHEN NOT MSG_IN
        MOVE 1, message, WHEN MSG_IN
        JUMP REL(refuse_rest)
refuse_now:
        JUMP REL(dispatch), WHEN NOT MSG_OUT
        MOVE 1, b_reject, WHEN MSG_OUT
        JUMP REL(dispatch)
extended_2:
        CLEAR ACK
        MOVE 2, message + 2, WHEN MSG_IN
        INT int_negotiation
extended_3:
        CLEAR ACK
        MOVE 3, message + 2, WHEN MSG_IN
        INT int_negotiation

; A target is back. It says which unit, and which tag if there was one.
reselected:
        INT int_phase, WHEN NOT MSG_IN
        MOVE 1, message, WHEN MSG_IN
        CLEAR ACK
        JUMP REL(untagged), WHEN NOT MSG_IN
        MOVE 1, message, WHEN MSG_IN
        JUMP REL(tagged), IF m_simple
        CALL REL(of_target)                     ; no tag, but a message at once
        MOVE MEMORY 4, window + t_saved, chip + r_temp
        MOVE MEMORY 1, message, chip + r_scratcha
        MOVE SCRATCHA0 TO SFBR
        JUMP REL(known)
untagged:
        CALL REL(of_target)
        MOVE MEMORY 4, window + t_saved, chip + r_temp
        JUMP REL(dispatch)
tagged: CLEAR ACK
        MOVE 1, message, WHEN MSG_IN
        MOVE SFBR TO SCRATCHA0
        MOVE MEMORY 1, chip + r_scratcha, take_tag + 4
take_tag:
        MOVE MEMORY 4, tags, w_place
        CALL REL(attach)
        MOVE MEMORY 4, window + t_saved, chip + r_temp
        JUMP REL(accept)

of_target:
        CLEAR CARRY
        MOVE SSID & 0x07 TO SFBR
        MOVE SFBR SHL TO SCRATCHA0
        MOVE SCRATCHA0 SHL TO SCRATCHA0
        ; The entry's address ends in 4 times the id and what `targets` ends in, which is 0.
        MOVE MEMORY 1, chip + r_scratcha, take_target + 4
take_target:
        MOVE MEMORY 4, targets, w_place
attach: MOVE MEMORY 4, w_place, attach_task + 4
attach_task:
        MOVE MEMORY task, 0, window
        MOVE MEMORY 4, w_window, chip + r_dsa
        MOVE MEMORY 1, window + t_select + 3, chip + r_scntl3
        MOVE MEMORY 1, window + t_select + 1, chip + r_sxfer
pointers:
        MOVE MEMORY 4, window + t_saved_after, window + t_after
        MOVE MEMORY 8, window + t_saved_rest, window + t_rest
        MOVE 0 TO SCRATCHB2
        RETURN

; The scatter list: a command with n segments begins n moves before the end.
list_in:
        REPEAT segments MOVE FROM t_list + ($ - list_in), WHEN DATA_IN
list_in_end:
        JUMP REL(list_end)
list_out:
        REPEAT segments MOVE FROM t_list + ($ - list_out), WHEN DATA_OUT
list_out_end:
list_end:
        MOVE MEMORY 4, w_overrun, chip + r_temp
        JUMP REL(dispatch)

rest_in:
        MOVE 1 TO SCRATCHB2
        MOVE FROM t_rest, WHEN DATA_IN
        JUMP REL(rest_end)
rest_out:
        MOVE 1 TO SCRATCHB2
        MOVE FROM t_rest, WHEN DATA_OUT
rest_end:
        MOVE 0 TO SCRATCHB2
        MOVE MEMORY 4, window + t_after, chip + r_temp
        RETURN

; More data than the list has room for goes nowhere, and is remembered.
overrun:
        MOVE 2 TO SCRATCHB2
        MOVE MEMORY 1, b_overrun, window + t_residue
        JUMP REL(overrun_out), IF DATA_OUT
        MOVE 512, bucket, WHEN DATA_IN
        JUMP REL(overrun_end)
overrun_out:
        MOVE 512, bucket, WHEN DATA_OUT
overrun_end:
        MOVE 0 TO SCRATCHB2
        JUMP REL(dispatch)
