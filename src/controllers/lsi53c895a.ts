// LSI/Symbios 53C895A and its relatives: what a profile may say of a chip.

import { KIND_LSI53C895A } from '../../assembly/bus/codes.ts';
import {
  PROFILE_BURST,
  PROFILE_DUAL_ADDRESS,
  PROFILE_LOAD_STORE,
  PROFILE_MISMATCH_JUMPS,
  PROFILE_RAM,
  PROFILE_WIDE,
} from '../../assembly/lsi53c895a/regs.ts';
import lsi53c810 from '../../firmware/profiles/lsi53c810.json' with { type: 'json' };
import plain from '../../firmware/profiles/lsi53c895a.json' with { type: 'json' };
import lines24 from '../../firmware/profiles/lsi53c895a-24lines.json' with { type: 'json' };
import burst from '../../firmware/profiles/lsi53c895a-burst.json' with { type: 'json' };
import noRam from '../../firmware/profiles/lsi53c895a-noram.json' with { type: 'json' };
import type { ControllerDescription, Parameter } from './description.ts';

export const lsi53c895a: ControllerDescription = {
  kind: 'lsi53c895a',
  code: KIND_LSI53C895A,
  title: 'LSI 53C895A',
  bus: 'pci',
  specifications: ['LSI53C895A Technical Manual, S14028.B', 'SPI-2, T10/1142-D', 'PCI Local Bus 2.2'],
  parameters: {
    ram: parameter(PROFILE_RAM, 1, 1, 'Whether there are 8 KiB of RAM for SCRIPTS.'),
    wide: parameter(PROFILE_WIDE, 1, 1, 'Whether the SCSI bus has 16 bits, and ids up to 15.'),
    loadStore: parameter(PROFILE_LOAD_STORE, 1, 1, 'Whether SCRIPTS have LOAD and STORE.'),
    mismatchJumps: parameter(PROFILE_MISMATCH_JUMPS, 1, 1, 'Whether SCRIPTS can handle a phase mismatch.'),
    dualAddress: parameter(PROFILE_DUAL_ADDRESS, 1, 1, 'Whether addresses can have an upper half.'),
    burst: parameter(PROFILE_BURST, 0xfffffe, 0, 'Bytes after which a disk disconnects; 0: it never does.'),
  },
  profiles: [plain, noRam, burst, lines24, lsi53c810],
  line: 17,
  limits: (profile) => ({
    addressBits: profile.addressBits,
    // A driver's table of block moves may be of any length.
    maxSegments: 65536,
    maxSegmentBytes: 0xffffff,
    boundary: 2 ** 32,
    alignment: 1,
  }),
};

function parameter(word: number, max: number, preset: number, about: string): Parameter {
  return { word, min: 0, max, default: preset, about };
}
