; The program that the driver (src/drivers/lsi53c895a.ts) loads into chips with LOAD and STORE: it takes commands off
; a ring, runs them on the SCSI bus, lets targets disconnect and come back, and puts what has ended on another ring.
;
; [1] LSI53C895A Technical Manual, chapters 2 and 5
; [2] SPI-2, chapter 10: messages
;
; DSA points to the task on the bus. TEMP is the active data pointer: the instruction that the next data phase goes
; on at, which is a move of the scatter list, the rest of a move that was cut short, or the end of the list. What is
; saved of it lies in the task. So CALL may be used only where TEMP is loaded afterwards.
;
; SCRATCHB0 and SCRATCHB1 are the places in the rings, counted in bytes: both are 256 bytes long, at multiples of 256.
; SCRATCHB2 is 1 while the rest of a move is on its way.

ARCH 895A

; A task, offsets from DSA.
ABSOLUTE t_select = 0x00          ; SXFER at 1, id at 2, SCNTL3 at 3
ABSOLUTE t_message = 0x08         ; table entries: identify, tag, negotiation
ABSOLUTE t_command = 0x10
ABSOLUTE t_status = 0x18
ABSOLUTE t_reply = 0x20           ; what the target gets when it asks for more messages
ABSOLUTE t_rest = 0x28            ; the rest of a move
ABSOLUTE t_after = 0x30           ; the instruction behind that rest
ABSOLUTE t_saved = 0x34           ; saved data pointer: TEMP, t_after and t_rest
ABSOLUTE t_saved_after = 0x38
ABSOLUTE t_residue = 0x3c         ; bytes that IGNORE WIDE RESIDUE took back; 0x80: data beyond the list
ABSOLUTE t_saved_rest = 0x40
ABSOLUTE t_own = 0x48             ; what goes on the ring of ended tasks
ABSOLUTE t_list = 0x100
ABSOLUTE segments = 224

; Why the program stops: DSPS.
ABSOLUTE int_phase = 1            ; a phase that makes no sense here
ABSOLUTE int_negotiation = 2      ; SDTR or WDTR came: the bytes are in `message`
ABSOLUTE int_rejected = 3         ; the target rejects our message
ABSOLUTE int_odd = 4              ; a move was cut short with half a word in the chip
ABSOLUTE int_flushed = 5          ; that half word is in memory
ABSOLUTE int_check = 6            ; the task ended with CHECK CONDITION
ABSOLUTE int_hello = 7            ; the program runs where it lies

; Messages.
ABSOLUTE m_complete = 0x00, m_extended = 0x01, m_save = 0x02, m_restore = 0x03, m_disconnect = 0x04
ABSOLUTE m_reject = 0x07, m_nop = 0x08, m_simple = 0x20, m_residue = 0x23
ABSOLUTE s_check = 0x02           ; status

; Bits of registers.
ABSOLUTE disconnects = 0x80       ; SCNTL2.SDU: an end of the nexus is an error
ABSOLUTE half_out = 0x08          ; SCNTL2.WSS
ABSOLUTE half_in = 0x01           ; SCNTL2.WSR

EXTERNAL ring, ended              ; tasks to start, tasks that have ended
EXTERNAL tags, targets            ; the task of a tag; of a target for what has none
EXTERNAL message                  ; eight bytes for messages from targets
EXTERNAL bucket                   ; 512 bytes for data that nobody wants

ENTRY hello, next, dispatch, accept, answer, refuse, half, mismatch_in, mismatch_out
ENTRY list_in, list_in_end, list_out, list_out_end, rest_in, rest_out, overrun

c_ring:         DATA ring
c_ended:        DATA ended
c_tags:         DATA tags
c_targets:      DATA targets
c_rest_in:      DATA rest_in
c_rest_out:     DATA rest_out
c_overrun:      DATA overrun
b_reject:       DATA m_reject

hello:  INT int_hello

; The next task to start. An entry of 1 is none yet.
next:   LOAD DSA, 4, c_ring
        MOVE SCRATCHB0 TO SFBR
        MOVE SFBR TO DSA0
        LOAD DSA, 4, DSAREL(0)
        MOVE DSA0 TO SFBR
        JUMP REL(idle), IF 0x01 AND MASK 0xfe
        LOAD TEMP, 4, DSAREL(t_saved)
        SELECT ATN FROM t_select, REL(reselected)
        MOVE SCRATCHB0 + 4 TO SCRATCHB0
        JUMP REL(dispatch), WHEN NOT MSG_OUT
        MOVE FROM t_message, WHEN MSG_OUT
        JUMP REL(dispatch), WHEN NOT CMD
send:
        MOVE FROM t_command, WHEN CMD

dispatch:
        RETURN, WHEN DATA_IN
        RETURN, IF DATA_OUT
        JUMP REL(finish), IF STATUS
        JUMP REL(hear), IF MSG_IN
        JUMP REL(speak), IF MSG_OUT
        JUMP REL(send), IF CMD
        INT int_phase

finish: MOVE FROM t_status, WHEN STATUS
        JUMP REL(check), IF s_check
        JUMP REL(dispatch), WHEN NOT MSG_IN
hear:
        MOVE 1, message, WHEN MSG_IN
known:  JUMP REL(complete), IF m_complete
        JUMP REL(disconnect), IF m_disconnect
        JUMP REL(save), IF m_save
        JUMP REL(restore), IF m_restore
        JUMP REL(extended), IF m_extended
        JUMP REL(residue), IF m_residue
        JUMP REL(accept), IF m_nop
        INT int_rejected, IF m_reject
        JUMP REL(refuse)

; The task is over: the host gets it with the data pointer as it was at the end.
complete:
        MOVE SCNTL2 & ~disconnects & 0xff TO SCNTL2
        CLEAR ACK
        WAIT DISCONNECT
        STORE TEMP, 4, DSAREL(t_saved)
        LOAD SCRATCHA, 4, DSAREL(t_own)
        LOAD DSA, 4, c_ended
        MOVE SCRATCHB1 TO SFBR
        MOVE SFBR TO DSA0
        STORE SCRATCHA, 4, DSAREL(0)
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
        STORE TEMP, 4, DSAREL(t_saved)
        INT int_check

disconnect:
        MOVE SCNTL2 & ~disconnects & 0xff TO SCNTL2
        CLEAR ACK
        WAIT DISCONNECT
        JUMP REL(next)

idle:   WAIT RESELECT REL(signal)
        JUMP REL(reselected)
signal: MOVE CTEST2 TO SFBR                     ; reading it takes the signal
        JUMP REL(next)

save:   STORE TEMP, 4, DSAREL(t_saved)
        LOAD SCRATCHA, 4, DSAREL(t_after)
        STORE SCRATCHA, 4, DSAREL(t_saved_after)
        LOAD SCRATCHA, 4, DSAREL(t_rest)
        STORE SCRATCHA, 4, DSAREL(t_saved_rest)
        LOAD SCRATCHA, 4, DSAREL(t_rest + 4)
        STORE SCRATCHA, 4, DSAREL(t_saved_rest + 4)
accept: CLEAR ACK
        JUMP REL(dispatch)

restore:
        CALL REL(pointers)
        LOAD TEMP, 4, DSAREL(t_saved)
        JUMP REL(accept)

; The host has filled t_reply, and wants the target to hear it.
answer: SET ATN
        JUMP REL(accept)

speak:
        MOVE FROM t_reply, WHEN MSG_OUT
        JUMP REL(dispatch)

residue:
        CLEAR ACK
        MOVE 1, message, WHEN MSG_IN
        MOVE SFBR TO SCRATCHA0
        STORE SCRATCHA0, 1, DSAREL(t_residue)
        MOVE SCNTL2 | half_in TO SCNTL2         ; a one clears it
        JUMP REL(accept)

; Extended messages of two and three bytes are the host's; there are no others that we know.
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
        LOAD TEMP, 4, DSAREL(t_saved)
        LOAD SFBR, 1, message
        JUMP REL(known)
untagged:
        CALL REL(of_target)
        LOAD TEMP, 4, DSAREL(t_saved)
        JUMP REL(dispatch)
tagged: CLEAR ACK
        MOVE 1, message, WHEN MSG_IN
        LOAD DSA, 4, c_tags                     ; tags are multiples of 4
        MOVE SFBR TO DSA0
        LOAD DSA, 4, DSAREL(0)
        CALL REL(attach)
        LOAD TEMP, 4, DSAREL(t_saved)
        JUMP REL(accept)

of_target:
        LOAD DSA, 4, c_targets
        CLEAR CARRY
        MOVE SSID & 0x0f TO SFBR
        MOVE SFBR SHL TO SCRATCHA0
        MOVE SCRATCHA0 SHL TO SFBR
        MOVE SFBR TO DSA0
        LOAD DSA, 4, DSAREL(0)
attach: LOAD SCNTL3, 1, DSAREL(t_select + 3)
        LOAD SXFER, 1, DSAREL(t_select + 1)
pointers:
        LOAD SCRATCHA, 4, DSAREL(t_saved_after)
        STORE SCRATCHA, 4, DSAREL(t_after)
        LOAD SCRATCHA, 4, DSAREL(t_saved_rest)
        STORE SCRATCHA, 4, DSAREL(t_rest)
        LOAD SCRATCHA, 4, DSAREL(t_saved_rest + 4)
        STORE SCRATCHA, 4, DSAREL(t_rest + 4)
        MOVE 0 TO SCRATCHB2
        RETURN

; The scatter list: a command with n segments begins n moves before the end. The last move out is no chained one, so
; that an odd byte goes out with it.
list_in:
        REPEAT segments CHMOV FROM t_list + ($ - list_in), WHEN DATA_IN
list_in_end:
        LOAD TEMP, 4, c_overrun
        JUMP REL(dispatch)
list_out:
        REPEAT segments - 1 CHMOV FROM t_list + ($ - list_out), WHEN DATA_OUT
        MOVE FROM t_list + ($ - list_out), WHEN DATA_OUT
list_out_end:
        LOAD TEMP, 4, c_overrun
        JUMP REL(dispatch)

rest_in:
        MOVE 1 TO SCRATCHB2
        CHMOV FROM t_rest, WHEN DATA_IN
        JUMP REL(rest_end)
rest_out:
        MOVE 1 TO SCRATCHB2
        CHMOV FROM t_rest, WHEN DATA_OUT
rest_end:
        MOVE 0 TO SCRATCHB2
        LOAD TEMP, 4, DSAREL(t_after)
        RETURN

; More data than the list has room for goes nowhere, and is remembered.
overrun:
        MOVE 2 TO SCRATCHB2
        MOVE 0x80 TO SCRATCHA0
        STORE SCRATCHA0, 1, DSAREL(t_residue)
        JUMP REL(overrun_out), IF DATA_OUT
        MOVE 512, bucket, WHEN DATA_IN
        JUMP REL(overrun_end)
overrun_out:
        MOVE 512, bucket, WHEN DATA_OUT
overrun_end:
        MOVE 0 TO SCRATCHB2
        JUMP REL(dispatch)

; The chip comes here when a target ends a data phase in the middle of a move (PMJAD1 and PMJAD2): UA and RBC say what
; is left of it, IA which move it was.
mismatch_in:
        MOVE SCNTL2 & half_in TO SFBR
        INT int_odd, IF half_in
        MOVE SCRATCHB2 TO SFBR
        JUMP REL(stay), IF 2
        CALL REL(keep)
        LOAD TEMP, 4, c_rest_in
        INT int_phase, WHEN DATA_OUT
        JUMP REL(dispatch)
mismatch_out:
        MOVE SCNTL2 & half_out TO SFBR
        INT int_odd, IF half_out
        MOVE SCRATCHB2 TO SFBR
        JUMP REL(stay), IF 2
        CALL REL(keep)
        LOAD TEMP, 4, c_rest_out
        INT int_phase, WHEN DATA_IN
        JUMP REL(dispatch)
stay:   MOVE 0 TO SCRATCHB2
        JUMP REL(dispatch)

; SFBR is 1: the rest of a move was cut short again, and what comes behind it stays.
keep:   STORE RBC, 4, DSAREL(t_rest)
        STORE UA, 4, DSAREL(t_rest + 4)
        MOVE 0 TO SCRATCHB2
        RETURN, IF 1
        MOVE IA0 TO SFBR
        MOVE SFBR + 8 TO SCRATCHA0
        MOVE IA1 TO SFBR
        MOVE SFBR + 0 TO SCRATCHA1 WITH CARRY
        MOVE IA2 TO SFBR
        MOVE SFBR + 0 TO SCRATCHA2 WITH CARRY
        MOVE IA3 TO SFBR
        MOVE SFBR + 0 TO SCRATCHA3 WITH CARRY
        STORE SCRATCHA, 4, DSAREL(t_after)
        RETURN

; For the host, when a byte of data waits in the chip for its other half: t_rest says where it goes.
half:   CHMOV FROM t_rest, WHEN DATA_IN
        INT int_flushed
