/** Numbers that cross the boundary between the host and the guard. */

/** What the guard watches (bits of AT_GUARD_FLAGS): addresses, mappings, bytes that nobody wrote. */
export const GUARD_ADDRESSES = 1;
export const GUARD_MAPPINGS = 2;
export const GUARD_INIT = 4;

/** Rules that the hardware itself can see broken; their names are in src/guard/rules.ts. */
export const RULE_DEV_TRUNCATED = 1;
export const RULE_DEV_HOLE = 2;
export const RULE_DEV_REGISTERS = 3;
export const RULE_DEV_NOMASTER = 4;
export const RULE_DEV_UNMAPPED = 5;
export const RULE_DEV_AFTER_UNMAP = 6;
export const RULE_DEV_OVERRUN = 7;
export const RULE_DEV_DIRECTION = 8;
export const RULE_DEV_UNINIT = 9;
export const RULE_DESC_LOOP = 10;
export const RULE_SYNC_MISSING = 11;

/** In a finding. Addresses and time are 64 bit. */
export const FINDING_MAX = 256;
export const FINDING_STRIDE = 72;
export const FINDING_AT_RULE = 0;
export const FINDING_AT_DEVICE = 4;
/** The address that the device meant, and the one that it drove. */
export const FINDING_AT_ADDRESS = 8;
export const FINDING_AT_DRIVEN = 16;
export const FINDING_AT_BYTES = 24;
export const FINDING_AT_DIRECTION = 28;
/** Handle of the mapping concerned, 0: none. */
export const FINDING_AT_MAPPING = 32;
export const FINDING_AT_COMMAND = 36;
/** How often the same was seen at the same place. */
export const FINDING_AT_COUNT = 40;
/** The other device, where registers were aimed at. */
export const FINDING_AT_OTHER = 44;
export const FINDING_AT_TIME = 48;

/** Page lists: a node says which bytes of its page a mapping covers. */
export const NODE_STRIDE = 16;
export const NODE_AT_NEXT = 0;
export const NODE_AT_MAPPING = 4;
export const NODE_AT_FROM = 8;
export const NODE_AT_TO = 12;

/** Mappings: slot i is at AT_GUARD_MAPPINGS + i * MAPPING_STRIDE; slot 0 is never used. */
export const MAPPING_STRIDE = 48;
export const MAPPING_AT_STATE = 0;
export const MAPPING_AT_DEVICE = 4;
export const MAPPING_AT_ADDRESS = 8;
export const MAPPING_AT_BYTES = 16;
export const MAPPING_AT_DIRECTION = 20;
/** Nodes that still name the mapping. */
export const MAPPING_AT_NODES = 24;
/** The host's own handle. */
export const MAPPING_AT_HANDLE = 28;
export const MAPPING_AT_NEXT_FREE = 32;
/** Not 0: the device has written some of it. */
export const MAPPING_AT_WRITTEN = 36;
/** What the CPU wrote and has not synced for the device: first byte in the mapping, and the byte behind the last. */
export const MAPPING_AT_STALE_FROM = 40;
export const MAPPING_AT_STALE_TO = 44;
export const MAPPING_FREE = 0;
export const MAPPING_LIVE = 1;
export const MAPPING_DEAD = 2;
