// The Adaptec AHA-1542 family: what a profile may say of a board.

import {
  PROFILE_BIOS_FLAGS,
  PROFILE_BOARD,
  PROFILE_DMA,
  PROFILE_EXTENDED,
  PROFILE_FIRMWARE,
  PROFILE_HOST_ID,
  PROFILE_IRQ,
  PROFILE_LOCK,
  PROFILE_OPTIONS,
  PROFILE_PORT,
  PROFILE_SEGMENTS,
  PROFILE_SELF_TEST,
  PROFILE_THICK,
  PROFILE_VERSION,
  SEGMENTS_MAX,
} from '../../assembly/aha1542/regs.ts';
import { KIND_AHA1542 } from '../../assembly/bus/codes.ts';
import aha1542b from '../../firmware/profiles/aha1542b.json' with { type: 'json' };
import aha1542cf from '../../firmware/profiles/aha1542cf.json' with { type: 'json' };
import { type ControllerDescription, parameterOf } from './description.ts';

export const aha1542: ControllerDescription = {
  kind: 'aha1542',
  code: KIND_AHA1542,
  title: 'Adaptec AHA-1542CF',
  bus: 'isa',
  specifications: [
    'Adaptec AHA-1540B/1542B Technical Reference Manual',
    'Adaptec AHA-1540CF/1542CF Technical Reference Manual',
    'Adaptec AHA-1540CP Technical Reference Manual',
    'SCSI-2, X3.131-1994',
    'SPC-3, T10/1416-D; SBC-2, T10/1417-D',
  ],
  parameters: {
    port: parameter(PROFILE_PORT, 0x130, 0x334, 0x330, 'First of the four ports.'),
    irq: parameter(PROFILE_IRQ, 9, 15, 11, 'Interrupt that the configuration data name.'),
    dma: parameter(PROFILE_DMA, 0, 7, 5, 'DMA channel that the configuration data name.'),
    hostId: parameter(PROFILE_HOST_ID, 0, 7, 7, 'SCSI id of the board itself, where no target can be.'),
    board: parameter(PROFILE_BOARD, 0, 255, 0x45, 'First byte of the adapter inquiry: which board it is.'),
    options: parameter(PROFILE_OPTIONS, 0, 255, 0x30, 'Second byte of the adapter inquiry.'),
    firmware: parameter(PROFILE_FIRMWARE, 0, 255, 0x30, 'Third byte of the adapter inquiry: revision.'),
    version: parameter(PROFILE_VERSION, 0, 255, 0x31, 'Fourth byte of the adapter inquiry: version.'),
    extended: parameter(PROFILE_EXTENDED, 0, 1, 1, 'Whether commands 22h to 29h and port 3 exist.'),
    biosFlags: parameter(PROFILE_BIOS_FLAGS, 0, 255, 8, 'Flags of the extended BIOS information.'),
    lock: parameter(PROFILE_LOCK, 0, 255, 1, 'Lock code of the mailboxes after a hard reset; 0: unlocked.'),
    segments: parameter(
      PROFILE_SEGMENTS,
      1,
      SEGMENTS_MAX,
      SEGMENTS_MAX,
      'Segments that one command may have.',
    ),
    selfTestUs: parameter(PROFILE_SELF_TEST, 1, 10_000_000, 50_000, 'Microseconds that the self-test takes.'),
    thickDisks: parameter(
      PROFILE_THICK,
      0,
      1,
      0,
      'Whether disks say that they know no WRITE SAME and UNMAP, as those of the time did not.',
    ),
  },
  profiles: [aha1542cf, aha1542b],
  line: 11,
  limits: (profile) => ({
    addressBits: profile.addressBits,
    maxSegments: parameterOf(aha1542, profile, 'segments'),
    maxSegmentBytes: 0xffffff,
    boundary: 0,
    alignment: 1,
  }),
  ports: (profile) => [{ bar: 0, first: parameterOf(aha1542, profile, 'port'), count: 4 }],
};

function parameter(word: number, min: number, max: number, preset: number, about: string) {
  return { word, min, max, default: preset, about };
}
