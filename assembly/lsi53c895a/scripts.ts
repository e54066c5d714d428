/** The SCRIPTS instruction set: LSI53C895A Technical Manual, chapter 5. Sections in brackets. */

/** First dword, bits 31 and 30: the kind of instruction. */
export const SCRIPT_TYPE = 0xc0000000;
export const SCRIPT_BLOCK_MOVE = 0x00000000;
export const SCRIPT_IO = 0x40000000;
export const SCRIPT_TRANSFER = 0x80000000;
export const SCRIPT_MEMORY = 0xc0000000;
/** Bits 29 to 27, in all but block moves, memory moves and load/store. */
export const SCRIPT_OPCODE_SHIFT = 27;
export const SCRIPT_OPCODE_MASK = 7;
/** Bits 26 to 24: phase, or operator of a read/write instruction. */
export const SCRIPT_PHASE_SHIFT = 24;
export const SCRIPT_PHASE_MASK = 7;
export const SCRIPT_COUNT_MASK = 0x00ffffff;

/** Block move [5.2]. MOVE as initiator, CHMOV as target; the other way round where the bit is clear. */
export const SCRIPT_INDIRECT = 0x20000000;
export const SCRIPT_TABLE = 0x10000000;
export const SCRIPT_MOVE = 0x08000000;

/** I/O [5.3]: opcodes of the initiator. */
export const SCRIPT_SELECT = 0;
export const SCRIPT_WAIT_DISCONNECT = 1;
export const SCRIPT_WAIT_RESELECT = 2;
export const SCRIPT_SET = 3;
export const SCRIPT_CLEAR = 4;
/** And of the target, where they differ. */
export const SCRIPT_RESELECT = 0;
export const SCRIPT_DISCONNECT = 1;
export const SCRIPT_WAIT_SELECT = 2;
export const SCRIPT_IO_RELATIVE = 0x04000000;
export const SCRIPT_IO_TABLE = 0x02000000;
export const SCRIPT_IO_ATN = 0x01000000;
export const SCRIPT_IO_ID_SHIFT = 16;
export const SCRIPT_IO_ID_MASK = 0xf;
/** What SET and CLEAR change. */
export const SCRIPT_SET_CARRY = 0x0400;
export const SCRIPT_SET_TARGET = 0x0200;
export const SCRIPT_SET_ACK = 0x0040;
export const SCRIPT_SET_ATN = 0x0008;

/** Read/write [5.4]: opcodes, operators, fields. */
export const SCRIPT_FROM_SFBR = 5;
export const SCRIPT_TO_SFBR = 6;
export const SCRIPT_MODIFY = 7;
export const SCRIPT_OP_LOAD = 0;
export const SCRIPT_OP_SHL = 1;
export const SCRIPT_OP_OR = 2;
export const SCRIPT_OP_XOR = 3;
export const SCRIPT_OP_AND = 4;
export const SCRIPT_OP_SHR = 5;
export const SCRIPT_OP_ADD = 6;
export const SCRIPT_OP_ADC = 7;
/** SFBR is the second operand, and not the data byte. */
export const SCRIPT_USE_SFBR = 0x00800000;
export const SCRIPT_REGISTER_SHIFT = 16;
export const SCRIPT_REGISTER_MASK = 0x7f;
/** Bit 7 of the register's address. */
export const SCRIPT_REGISTER_HIGH = 0x80;
export const SCRIPT_DATA_SHIFT = 8;

/** Transfer control [5.5]. */
export const SCRIPT_JUMP = 0;
export const SCRIPT_CALL = 1;
export const SCRIPT_RETURN = 2;
export const SCRIPT_INT = 3;
export const SCRIPT_RELATIVE = 0x00800000;
/** JUMP with a third dword: the upper half of the address. */
export const SCRIPT_JUMP64 = 0x00400000;
export const SCRIPT_IF_CARRY = 0x00200000;
export const SCRIPT_INTFLY = 0x00100000;
export const SCRIPT_IF_TRUE = 0x00080000;
export const SCRIPT_COMPARE_DATA = 0x00040000;
export const SCRIPT_COMPARE_PHASE = 0x00020000;
export const SCRIPT_WAIT_PHASE = 0x00010000;
export const SCRIPT_MASK_SHIFT = 8;

/** Memory move [5.6]. */
export const SCRIPT_LOAD_STORE = 0x20000000;
export const SCRIPT_MEMORY_NO_FLUSH = 0x01000000;

/** Load and store [5.7]: one to four bytes. */
export const SCRIPT_LS_DSA = 0x10000000;
export const SCRIPT_LS_NO_FLUSH = 0x02000000;
export const SCRIPT_LS_LOAD = 0x01000000;
export const SCRIPT_LS_REGISTER_SHIFT = 16;
export const SCRIPT_LS_REGISTER_MASK = 0xff;
export const SCRIPT_LS_COUNT_MASK = 7;

/** A table entry [5.2, 5.3]: count and address of a block move; SCNTL3, id, SXFER of a selection. */
export const SCRIPT_ENTRY_BYTES = 8;
