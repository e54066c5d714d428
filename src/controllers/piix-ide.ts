// The IDE function of PIIX3 and PIIX4: what a profile may say of a board.
//
// The host reaches its legacy ports as BARs 0 to 3 (command and control block of each channel), the bus master as
// BAR 4. `ports` says which ports they are.

import { KIND_PIIX_IDE } from '../../assembly/bus/codes.ts';
import {
  PIIX_BAR_PRIMARY,
  PIIX_BAR_PRIMARY_CONTROL,
  PIIX_BAR_SECONDARY,
  PIIX_BAR_SECONDARY_CONTROL,
  PIIX_COMMAND_PORTS,
  PIIX_CONTROL_PORTS,
  PIIX_IDETIM,
  PIIX_IDETIM_ENABLE,
  PIIX_IDETIM_SECONDARY,
  PIIX_PORT_PRIMARY,
  PIIX_PORT_PRIMARY_CONTROL,
  PIIX_PORT_SECONDARY,
  PIIX_PORT_SECONDARY_CONTROL,
  PRD_COUNT_MAX,
  PRD_ENTRIES_MAX,
  PROFILE_ENABLED,
  PROFILE_ENTRIES,
  PROFILE_LENIENT,
  PROFILE_ULTRA,
} from '../../assembly/piix-ide/regs.ts';
import entries128 from '../../firmware/profiles/piix-128prd.json' with { type: 'json' };
import piix3 from '../../firmware/profiles/piix3.json' with { type: 'json' };
import pc from '../../firmware/profiles/piix3-pc.json' with { type: 'json' };
import piix4 from '../../firmware/profiles/piix4.json' with { type: 'json' };
import { type ControllerDescription, type Parameter, parameterOf } from './description.ts';

/** A table of one page is what drivers use: more does not fit a request anyway. */
const MAX_SEGMENTS = 512;

export const piixIde: ControllerDescription = {
  kind: 'piix-ide',
  code: KIND_PIIX_IDE,
  title: 'PIIX3/PIIX4 IDE',
  bus: 'pci',
  specifications: [
    'Intel 82371AB (PIIX4) datasheet, 290562-001',
    'Intel 82371FB/SB (PIIX, PIIX3) datasheet, 290550-002',
    'Programming Interface for Bus Master IDE Controller, revision 1.0 (SFF-8038i)',
    'AT Attachment with Packet Interface - 7, T13/1532D',
    'AT Attachment 8 - ATA/ATAPI Command Set, T13/1699-D revision 6a',
    'PCI Local Bus 3.0',
  ],
  parameters: {
    entries: parameter(
      PROFILE_ENTRIES,
      1,
      PRD_ENTRIES_MAX,
      PRD_ENTRIES_MAX,
      'Entries of a table that the bus master walks before it gives up with an error.',
    ),
    ultra: parameter(PROFILE_ULTRA, 0, 1, 0, 'Whether the registers for Ultra DMA/33 are there (PIIX4).'),
    enabled: parameter(
      PROFILE_ENABLED,
      0,
      3,
      0,
      'Channels that decode their ports after a reset, one bit each: what a BIOS does where none runs.',
    ),
    lenient: parameter(
      PROFILE_LENIENT,
      0,
      1,
      0,
      'Whether memory decoding can be switched on (for nothing), a drive gives up where its table is too short, a master without the bus moves its data to nowhere, DATA SET MANAGEMENT takes an 8-bit count, and an optical drive reports no unit attention after a reset and a new medium first as none.',
    ),
  },
  profiles: [piix4, piix3, entries128, pc],
  line: 14,
  lines: 2,
  ports: () => [
    { bar: PIIX_BAR_PRIMARY, first: PIIX_PORT_PRIMARY, count: PIIX_COMMAND_PORTS },
    { bar: PIIX_BAR_PRIMARY_CONTROL, first: PIIX_PORT_PRIMARY_CONTROL, count: PIIX_CONTROL_PORTS },
    { bar: PIIX_BAR_SECONDARY, first: PIIX_PORT_SECONDARY, count: PIIX_COMMAND_PORTS },
    { bar: PIIX_BAR_SECONDARY_CONTROL, first: PIIX_PORT_SECONDARY_CONTROL, count: PIIX_CONTROL_PORTS },
  ],
  bios: [
    { at: PIIX_IDETIM, size: 2, value: PIIX_IDETIM_ENABLE },
    { at: PIIX_IDETIM_SECONDARY, size: 2, value: PIIX_IDETIM_ENABLE },
  ],
  limits: (profile) => ({
    addressBits: profile.addressBits,
    maxSegments: Math.min(MAX_SEGMENTS, parameterOf(piixIde, profile, 'entries')),
    maxSegmentBytes: PRD_COUNT_MAX,
    boundary: PRD_COUNT_MAX,
    alignment: 2,
  }),
};

function parameter(word: number, min: number, max: number, preset: number, about: string): Parameter {
  return { word, min, max, default: preset, about };
}
