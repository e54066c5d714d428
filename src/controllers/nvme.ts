// NVMe: what a profile may say of a board.

import { KIND_NVME } from '../../assembly/bus/codes.ts';
import {
  NVME_MDTS_MAX,
  NVME_MEMORY_PAGES_MAX,
  NVME_NAMESPACES_MAX,
  NVME_QUEUES_MAX,
  PROFILE_CACHE,
  PROFILE_CMB,
  PROFILE_CMB_USES,
  PROFILE_ENTRIES,
  PROFILE_MDTS,
  PROFILE_MSI,
  PROFILE_MSIX,
  PROFILE_NAMESPACES,
  PROFILE_PMR,
  PROFILE_QUEUES,
  PROFILE_READY_US,
  PROFILE_SGL,
  PROFILE_STRIDE,
  PROFILE_WEIGHTED,
} from '../../assembly/nvme/regs.ts';
import plain from '../../firmware/profiles/nvme.json' with { type: 'json' };
import lines26 from '../../firmware/profiles/nvme-26lines.json' with { type: 'json' };
import lines48 from '../../firmware/profiles/nvme-48lines.json' with { type: 'json' };
import cmb from '../../firmware/profiles/nvme-cmb.json' with { type: 'json' };
import mdts1 from '../../firmware/profiles/nvme-mdts1.json' with { type: 'json' };
import noSgl from '../../firmware/profiles/nvme-nosgl.json' with { type: 'json' };
import pmr from '../../firmware/profiles/nvme-pmr.json' with { type: 'json' };
import { type ControllerDescription, type Parameter, parameterOf } from './description.ts';

const PAGE_BYTES = 4096;

export const nvme: ControllerDescription = {
  kind: 'nvme',
  code: KIND_NVME,
  title: 'NVMe',
  bus: 'pci',
  specifications: ['NVM Express 1.4', 'PCI Local Bus 3.0'],
  parameters: {
    queues: parameter(PROFILE_QUEUES, 1, NVME_QUEUES_MAX, 8, 'I/O queues of each kind.'),
    entries: parameter(PROFILE_ENTRIES, 2, 65536, 1024, 'Entries of a queue at most (CAP.MQES, less one).'),
    mdts: parameter(PROFILE_MDTS, 1, NVME_MDTS_MAX, 5, 'Log2 of the pages of 4 KiB that one command moves.'),
    sgl: parameter(PROFILE_SGL, 0, 1, 1, 'Whether NVM commands take SGLs.'),
    stride: parameter(PROFILE_STRIDE, 0, 4, 0, 'Log2 of the dwords between doorbells (CAP.DSTRD).'),
    namespaces: parameter(PROFILE_NAMESPACES, 1, NVME_NAMESPACES_MAX, 16, 'Namespaces that there can be.'),
    weighted: parameter(PROFILE_WEIGHTED, 0, 1, 1, 'Whether there is weighted round robin (CAP.AMS).'),
    readyUs: parameter(PROFILE_READY_US, 1, 10_000_000, 1000, 'Microseconds from CC.EN to CSTS.RDY.'),
    cache: parameter(PROFILE_CACHE, 0, 1, 1, 'Whether there is a volatile write cache (VWC).'),
    cmb: parameter(
      PROFILE_CMB,
      0,
      NVME_MEMORY_PAGES_MAX,
      0,
      'Pages of 4 KiB in the controller memory buffer.',
    ),
    cmbUses: parameter(PROFILE_CMB_USES, 0, 31, 31, 'What that buffer is for (CMBSZ, bits 0 to 4).'),
    pmr: parameter(
      PROFILE_PMR,
      0,
      NVME_MEMORY_PAGES_MAX,
      0,
      'Pages of 4 KiB in the persistent memory region, rounded up to a power of two.',
    ),
    msi: parameter(PROFILE_MSI, 0, 1, 0, 'Whether there is an MSI capability.'),
    msix: parameter(PROFILE_MSIX, 0, 1, 1, 'Whether there is an MSI-X capability, a vector a queue.'),
  },
  profiles: [plain, lines48, lines26, mdts1, noSgl, cmb, pmr],
  line: 16,
  limits: (profile) => {
    const sgl = parameterOf(nvme, profile, 'sgl') !== 0;
    const pages = 2 ** parameterOf(nvme, profile, 'mdts');
    return {
      addressBits: profile.addressBits,
      maxSegments: sgl ? 65536 : pages + 1,
      maxSegmentBytes: sgl ? 0xffffffff : PAGE_BYTES,
      boundary: sgl ? 0 : PAGE_BYTES,
      alignment: sgl ? 1 : 4,
    };
  },
};

function parameter(word: number, min: number, max: number, preset: number, about: string): Parameter {
  return { word, min, max, default: preset, about };
}
