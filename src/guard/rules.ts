// The rules that the guard knows, by the ids of the project's guard specification. Declared once: findings, documentation
// and the list that `backplane` prints derive from this table.

import {
  RULE_DESC_LOOP,
  RULE_DEV_AFTER_UNMAP,
  RULE_DEV_DIRECTION,
  RULE_DEV_HOLE,
  RULE_DEV_NOMASTER,
  RULE_DEV_OVERRUN,
  RULE_DEV_REGISTERS,
  RULE_DEV_TRUNCATED,
  RULE_DEV_UNINIT,
  RULE_DEV_UNMAPPED,
  RULE_SYNC_MISSING,
} from '../../assembly/bus/guard-codes.ts';

/** The mistake behind each rule, in one clause. */
export const RULES = {
  'map-unknown': 'unmap of what was never mapped, or twice',
  'map-error-unmapped': 'unmap of an error address',
  'map-error-unchecked': 'mapping error never tested',
  'map-size': 'unmap with another size',
  'map-kind': 'unmap through another interface',
  'map-nents': 'unmap or sync with another entry count',
  'map-direction': 'unmap or sync with another direction',
  'map-leak': 'mappings left when the device goes',
  'map-memory': 'stack, vmalloc, text or absent page mapped',
  'map-overlap': 'two mappings share a cache line with conflicting direction, or too many overlap',
  'map-mask': 'address beyond the mask of the device mapped, or cut when narrowed into a descriptor',
  'coherent-free': 'coherent memory freed with another CPU address',
  'seg-length': 'segment longer than the device takes',
  'seg-boundary': 'segment crosses a boundary of the device',
  'seg-count': 'more segments or sectors than the device takes',
  'seg-align': 'segment misaligned for the device',
  'sg-init': 'scatter list changed while it was mapped',
  'sync-unmapped': 'sync of what is not mapped',
  'sync-range': 'sync outside the mapping',
  'sync-direction': 'sync towards the side that the mapping does not serve',
  'sync-missing': 'one side used what the other wrote, without the sync that was due',
  'own-cpu': 'CPU touches memory that the device owns',
  'free-mapped': 'memory freed or unpinned before unmap',
  'dev-after-unmap': 'device access after unmap',
  'dev-overrun': 'device access beyond the mapping inside the page',
  'dev-direction': 'device writes a read-only mapping, or reads a write-only one',
  'dev-truncated': 'address beyond the lines of the device: it went elsewhere',
  'dev-unmapped': 'device access to RAM that no mapping ever covered',
  'dev-nomaster': 'DMA attempted with bus mastering off',
  'dev-hole': 'access where no RAM is',
  'dev-registers': 'DMA aimed at registers',
  'dev-uninit': 'memory never written is sent to the medium',
  'pin-undirtied': 'page written by the device, unpinned without being marked dirty',
  'pin-leak': 'pin left when the process is gone',
  'pin-readonly': 'page pinned for reading is mapped for a device to write',
  'user-unmapped': 'memory that a device writes is unmapped or forked by its owner',
  'pool-exhausted': 'bounce memory used up: a request failed or waited',
  'ctx-sleep': 'sleep in interrupt context or under a spin lock',
  'lock-order': 'locks taken in both orders',
  'done-lost': 'completion lost: a command is open with nothing pending',
  'done-twice': 'command completed twice',
  'desc-loop': 'descriptor chain loops or exceeds its bound',
} as const;

export type Rule = keyof typeof RULES;

/** Rules that the hardware itself sees broken, by the number that the module uses. */
export const HARDWARE_RULES: ReadonlyMap<number, Rule> = new Map<number, Rule>([
  [RULE_DEV_TRUNCATED, 'dev-truncated'],
  [RULE_DEV_HOLE, 'dev-hole'],
  [RULE_DEV_REGISTERS, 'dev-registers'],
  [RULE_DEV_NOMASTER, 'dev-nomaster'],
  [RULE_DEV_UNMAPPED, 'dev-unmapped'],
  [RULE_DEV_AFTER_UNMAP, 'dev-after-unmap'],
  [RULE_DEV_OVERRUN, 'dev-overrun'],
  [RULE_DEV_DIRECTION, 'dev-direction'],
  [RULE_DEV_UNINIT, 'dev-uninit'],
  [RULE_DESC_LOOP, 'desc-loop'],
  [RULE_SYNC_MISSING, 'sync-missing'],
]);
