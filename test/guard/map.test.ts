// The rules about mappings: for each the program that makes the mistake, which is reported under that rule, and its twin
// that does it right and is silent.

import type { Finding, Rule } from '../../src/guard/index.ts';
import { PAGE_SIZE, type Page } from '../../src/kernel/index.ts';
import {
  bootLinux,
  Device,
  DMA_BIDIRECTIONAL,
  DMA_BIT_MASK,
  DMA_FROM_DEVICE,
  DMA_TO_DEVICE,
  GFP_KERNEL,
  type LinuxApi,
  type LinuxOptions,
  type Scatterlist,
  STACK_TAG,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('guard map');

const HERE = 'here';
const THERE = 'there';

interface Rig {
  readonly linux: LinuxApi;
  readonly dev: Device;
  readonly page: () => Page;
  readonly high: () => Page;
}

/** Runs a program against a device with 32 address bits and returns what the guard found. */
async function findings(
  program: (rig: Rig) => void,
  options: LinuxOptions = {},
): Promise<readonly Finding[]> {
  const machine = await createMachine({ ram: 'small' });
  const controller = machine.addController({ kind: 'ahci', profile: 'ahci-sb600' });
  const linux = bootLinux(machine, options);
  const dev = new Device(controller, 'probe');
  const take = (where: object): Page => linux.kernel.allocator.alloc({ ...where, zero: true }) as Page;
  program({
    linux,
    dev,
    page: () => take({ below: 2 ** 32 }),
    high: () => take({ from: 2 ** 32 }),
  });
  return machine.guard.findings();
}

/** A list of `n` entries of 512 bytes, each in a page of its own. */
function scatter({ linux, page }: Rig, n: number): Scatterlist {
  const { sgl } = linux.sg_alloc_table(n);
  for (const sg of linux.for_each_sg(sgl, n)) linux.sg_set_page(sg, page(), 512, 0);
  return sgl;
}

/** Maps 512 bytes of a page and asks whether that went well. */
function mapChecked({ linux, dev }: Rig, page: Page, dir: number, size = 512, offset = 0): number {
  const addr = linux.dma_map_page(dev, page, offset, size, dir, HERE);
  linux.dma_mapping_error(dev, addr);
  return addr;
}

/** The one finding, which must be of that rule and name the device and the place. */
function only(found: readonly Finding[], rule: Rule, where: string | null = THERE): Finding {
  assert.equal(
    found.map((finding) => finding.rule),
    [rule],
  );
  const [finding] = found as [Finding];
  assert.is(finding.device, 'probe');
  if (where !== null) assert.match(finding.message, where);
  return finding;
}

/** The mistake is one finding, the twin none. */
function pair(
  rule: Rule,
  what: string,
  mistake: (rig: Rig) => void,
  twin: (rig: Rig) => void,
  check?: (finding: Finding) => void,
  where: string | null = THERE,
): void {
  test(`${rule} ${what}`, async () => {
    const finding = only(await findings(mistake), rule, where);
    check?.(finding);
  });
  test(`${rule} the twin of: ${what}`, async () => {
    assert.equal(await findings(twin), []);
  });
}

function madeHere(finding: Finding): void {
  assert.is(finding.mapping?.where, HERE);
  assert.is(finding.mapping?.device, 'ahci.0');
  assert.is(finding.address, finding.mapping?.address);
}

pair(
  'map-unknown',
  'unmap of what was never mapped',
  ({ linux, dev, page }) => linux.dma_unmap_page(dev, page().phys, 512, DMA_TO_DEVICE, THERE),
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_TO_DEVICE);
    rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_TO_DEVICE, THERE);
  },
  (finding) => assert.equal([finding.length, finding.direction, finding.mapping], [512, 'read', null]),
);

pair(
  'map-unknown',
  'unmap twice',
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_TO_DEVICE);
    rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_TO_DEVICE);
    rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_TO_DEVICE, THERE);
  },
  (rig) => {
    const page = rig.page();
    for (let i = 0; i < 2; i++) {
      const addr = mapChecked(rig, page, DMA_TO_DEVICE);
      rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_TO_DEVICE);
    }
  },
);

test('map-error-unmapped unmap of the address of a mapping that failed', async () => {
  const mistake = ({ linux, dev, high }: Rig) => {
    const addr = linux.dma_map_page(dev, high(), 0, 512, DMA_TO_DEVICE, HERE);
    linux.dma_unmap_page(dev, addr, 512, DMA_TO_DEVICE, THERE);
  };
  only(await findings(mistake, { swiotlb: false }), 'map-error-unmapped');
});

test('map-error-unmapped the twin asks first', async () => {
  const twin = ({ linux, dev, high }: Rig) => {
    const addr = linux.dma_map_page(dev, high(), 0, 512, DMA_TO_DEVICE, HERE);
    if (linux.dma_mapping_error(dev, addr) === 0) linux.dma_unmap_page(dev, addr, 512, DMA_TO_DEVICE);
  };
  assert.equal(await findings(twin, { swiotlb: false }), []);
});

pair(
  'map-error-unchecked',
  'nobody asks whether the mapping failed',
  ({ linux, dev, page }) => {
    const addr = linux.dma_map_single(dev, page().phys, 512, DMA_TO_DEVICE, HERE);
    linux.dma_unmap_single(dev, addr, 512, DMA_TO_DEVICE, THERE);
  },
  ({ linux, dev, page }) => {
    const addr = linux.dma_map_single(dev, page().phys, 512, DMA_TO_DEVICE, HERE);
    if (linux.dma_mapping_error(dev, addr) === 0) linux.dma_unmap_single(dev, addr, 512, DMA_TO_DEVICE);
  },
  madeHere,
);

test('DMA-08 one question settles one mapping of an address that is mapped twice', async () => {
  const found = await findings(({ linux, dev, page }) => {
    const { phys } = page();
    for (let i = 0; i < 2; i++) linux.dma_map_single(dev, phys, 512, DMA_TO_DEVICE, HERE);
    linux.dma_mapping_error(dev, phys);
    for (let i = 0; i < 2; i++) linux.dma_unmap_single(dev, phys, 512, DMA_TO_DEVICE, THERE);
  });
  only(found, 'map-error-unchecked');
});

test('DMA-08 a question for one address does not settle its neighbour in the page', async () => {
  const found = await findings(({ linux, dev, page }) => {
    const { phys } = page();
    for (const addr of [phys, phys + 512]) linux.dma_map_single(dev, addr, 512, DMA_TO_DEVICE, HERE);
    for (let i = 0; i < 2; i++) linux.dma_mapping_error(dev, phys + 512);
    for (const addr of [phys, phys + 512]) linux.dma_unmap_single(dev, addr, 512, DMA_TO_DEVICE, THERE);
  });
  only(found, 'map-error-unchecked');
});

test('DMA-08 an entry is gone after its unmap, also when that was reported', async () => {
  const found = await findings((rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_TO_DEVICE);
    rig.linux.dma_unmap_page(rig.dev, addr, 1024, DMA_TO_DEVICE, THERE);
    rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_TO_DEVICE, THERE);
  });
  assert.equal(
    found.map(({ rule }) => rule),
    ['map-size', 'map-unknown'],
  );
});

pair(
  'map-size',
  'unmap with another size',
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_TO_DEVICE);
    rig.linux.dma_unmap_page(rig.dev, addr, 1024, DMA_TO_DEVICE, THERE);
  },
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_TO_DEVICE);
    rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_TO_DEVICE, THERE);
  },
  (finding) => {
    madeHere(finding);
    assert.equal([finding.length, finding.mapping?.bytes], [1024, 512]);
  },
);

pair(
  'map-kind',
  'unmap of a page mapping as a single one',
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_TO_DEVICE);
    rig.linux.dma_unmap_single(rig.dev, addr, 512, DMA_TO_DEVICE, THERE);
  },
  ({ linux, dev, page }) => {
    const addr = linux.dma_map_single(dev, page().phys, 512, DMA_TO_DEVICE, HERE);
    linux.dma_mapping_error(dev, addr);
    linux.dma_unmap_single(dev, addr, 512, DMA_TO_DEVICE, THERE);
  },
  madeHere,
);

pair(
  'map-nents',
  'unmap of a scatter list with the wrong count',
  (rig) => {
    const sgl = scatter(rig, 3);
    rig.linux.dma_map_sg(rig.dev, sgl, 3, DMA_TO_DEVICE, HERE);
    rig.linux.dma_unmap_sg(rig.dev, sgl, 2, DMA_TO_DEVICE, THERE);
    assert.is(rig.linux.dma_release_device(rig.dev), 0); // all three have ended
  },
  (rig) => {
    const sgl = scatter(rig, 3);
    rig.linux.dma_map_sg(rig.dev, sgl, 3, DMA_TO_DEVICE, HERE);
    rig.linux.dma_unmap_sg(rig.dev, sgl, 3, DMA_TO_DEVICE, THERE);
  },
  madeHere,
);

pair(
  'map-nents',
  'sync of a scatter list with the wrong count',
  (rig) => {
    const sgl = scatter(rig, 2);
    rig.linux.dma_map_sg(rig.dev, sgl, 2, DMA_TO_DEVICE, HERE);
    rig.linux.dma_sync_sg_for_device(rig.dev, sgl, 1, DMA_TO_DEVICE, THERE);
  },
  (rig) => {
    const sgl = scatter(rig, 2);
    rig.linux.dma_map_sg(rig.dev, sgl, 2, DMA_TO_DEVICE, HERE);
    rig.linux.dma_sync_sg_for_device(rig.dev, sgl, 2, DMA_TO_DEVICE, THERE);
  },
  madeHere,
);

pair(
  'map-direction',
  'unmap with another direction',
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_FROM_DEVICE);
    rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_TO_DEVICE, THERE);
  },
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_FROM_DEVICE);
    rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_FROM_DEVICE, THERE);
  },
  (finding) => {
    madeHere(finding);
    assert.equal([finding.direction, finding.mapping?.access], ['read', 'write']);
  },
);

pair(
  'map-direction',
  'sync with another direction',
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_FROM_DEVICE);
    rig.linux.dma_sync_single_for_cpu(rig.dev, addr, 512, DMA_BIDIRECTIONAL, THERE);
  },
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_BIDIRECTIONAL);
    rig.linux.dma_sync_single_for_cpu(rig.dev, addr, 512, DMA_FROM_DEVICE, THERE); // nothing is checked then
  },
  madeHere,
);

pair(
  'map-leak',
  'mappings are left when the device goes',
  (rig) => {
    mapChecked(rig, rig.page(), DMA_TO_DEVICE);
    mapChecked(rig, rig.page(), DMA_FROM_DEVICE);
    assert.is(rig.linux.dma_release_device(rig.dev), 2);
  },
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_TO_DEVICE);
    rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_TO_DEVICE);
    assert.is(rig.linux.dma_release_device(rig.dev), 0);
  },
  (finding) => {
    madeHere(finding);
    assert.match(finding.message, '2 mappings left');
  },
  null,
);

pair(
  'map-memory',
  'memory that is not there is mapped',
  ({ linux, dev }) => {
    linux.dma_map_single(dev, 2 ** 21, 512, DMA_TO_DEVICE, THERE);
  },
  ({ linux, dev, page }) => {
    linux.dma_map_single(dev, page().phys, 512, DMA_TO_DEVICE, THERE);
  },
  (finding) => assert.equal([finding.address, finding.length], [2 ** 21, 512]),
);

pair(
  'map-memory',
  'DMA-07 a stack of the kernel is mapped',
  ({ linux, dev }) => {
    const stack = linux.kernel.allocator.alloc({ tag: STACK_TAG }) as Page;
    linux.dma_map_page(dev, stack, 0, 512, DMA_TO_DEVICE, THERE);
  },
  ({ linux, dev, page }) => {
    linux.dma_map_page(dev, page(), 0, 512, DMA_TO_DEVICE, THERE);
  },
);

pair(
  'map-memory',
  'memory that was freed is mapped',
  ({ linux, dev, page }) => {
    const freed = page();
    linux.put_page(freed);
    linux.dma_map_page(dev, freed, 0, 512, DMA_FROM_DEVICE, THERE);
  },
  ({ linux, dev, page }) => {
    linux.dma_map_page(dev, page(), 0, 512, DMA_FROM_DEVICE, THERE);
  },
);

pair(
  'map-memory',
  'memory of the kernel itself is mapped for the device to write',
  ({ linux, dev }) => {
    linux.dma_map_single(dev, 0x100, 512, DMA_FROM_DEVICE, THERE);
  },
  ({ linux, dev, page }) => {
    linux.dma_map_single(dev, page().phys, 512, DMA_FROM_DEVICE, THERE);
    linux.dma_map_single(dev, 0x100, 512, DMA_TO_DEVICE, THERE); // the device only reads it
  },
);

pair(
  'map-overlap',
  'two mappings share a cache line in different directions',
  (rig) => {
    const page = rig.page();
    mapChecked(rig, page, DMA_TO_DEVICE, 100, 0);
    rig.linux.dma_map_page(rig.dev, page, 100, 100, DMA_FROM_DEVICE, THERE);
  },
  (rig) => {
    const page = rig.page();
    mapChecked(rig, page, DMA_TO_DEVICE, 100, 0);
    rig.linux.dma_map_page(rig.dev, page, 128, 100, DMA_FROM_DEVICE, THERE);
  },
  (finding) => assert.equal([finding.mapping?.where, finding.mapping?.bytes], [HERE, 100]),
);

pair(
  'map-overlap',
  'a later page of one mapping is mapped the other way',
  ({ linux, dev }) => {
    const head = linux.kernel.allocator.alloc({ order: 1, below: 2 ** 32 }) as Page;
    linux.dma_map_single(dev, head.phys, 2 * PAGE_SIZE, DMA_FROM_DEVICE, HERE);
    linux.dma_map_single(dev, head.phys + PAGE_SIZE + 512, 64, DMA_TO_DEVICE, THERE);
  },
  ({ linux, dev }) => {
    const head = linux.kernel.allocator.alloc({ order: 1, below: 2 ** 32 }) as Page;
    linux.dma_map_single(dev, head.phys, PAGE_SIZE, DMA_FROM_DEVICE, HERE);
    linux.dma_map_single(dev, head.phys + PAGE_SIZE, 64, DMA_TO_DEVICE, THERE);
  },
);

pair(
  'map-overlap',
  'more than seven mappings for the device to write share a cache line',
  ({ linux, dev, page }) => {
    const { phys } = page();
    for (let i = 0; i < 9; i++) linux.dma_map_single(dev, phys, 64, DMA_FROM_DEVICE, THERE);
  },
  ({ linux, dev, page }) => {
    const { phys } = page();
    for (let i = 0; i < 8; i++) linux.dma_map_single(dev, phys, 64, DMA_FROM_DEVICE, THERE);
    for (let i = 0; i < 9; i++) linux.dma_map_single(dev, phys + 2048, 64, DMA_TO_DEVICE, THERE);
  },
);

pair(
  'map-mask',
  'memory beyond the address lines of the board is mapped by a driver that believes in more',
  ({ linux, dev, high }) => {
    linux.dma_set_mask(dev, DMA_BIT_MASK(64));
    linux.dma_map_page(dev, high(), 0, 512, DMA_TO_DEVICE, THERE);
  },
  ({ linux, dev, high }) => {
    linux.dma_set_mask(dev, DMA_BIT_MASK(32)); // the quirk
    linux.dma_map_page(dev, high(), 0, 512, DMA_TO_DEVICE, THERE);
  },
  (finding) => assert.match(finding.message, '32 address lines'),
);

pair(
  'map-mask',
  'an address is cut when a descriptor takes it',
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_TO_DEVICE);
    rig.linux.dma_narrow(rig.dev, addr, 512, 16, THERE);
  },
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_TO_DEVICE);
    rig.linux.dma_narrow(rig.dev, addr, 512, 32, THERE);
  },
  madeHere,
);

test('coherent-free shared memory is freed with another CPU address', async () => {
  const found = await findings(({ linux, dev }) => {
    const one = linux.dma_alloc_coherent(dev, 4096, GFP_KERNEL, HERE);
    const other = linux.dma_alloc_coherent(dev, 4096, GFP_KERNEL, HERE);
    assert.ok(one !== null && other !== null);
    linux.dma_free_coherent(dev, 4096, other.cpu_addr, one.dma_handle, THERE);
  });
  const finding = only(found, 'coherent-free');
  assert.equal([finding.mapping?.kind, finding.length], ['dma_alloc_coherent', 4096]);
});

test('coherent-free the twin frees what it got', async () => {
  const twin = ({ linux, dev }: Rig) => {
    const one = linux.dma_alloc_coherent(dev, 4096, GFP_KERNEL, HERE);
    assert.ok(one !== null);
    linux.dma_free_coherent(dev, 4096, one.cpu_addr, one.dma_handle, THERE);
  };
  assert.equal(await findings(twin), []);
});

pair(
  'sync-unmapped',
  'sync of what is not mapped',
  ({ linux, dev, page }) => linux.dma_sync_single_for_cpu(dev, page().phys, 512, DMA_FROM_DEVICE, THERE),
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_FROM_DEVICE);
    rig.linux.dma_sync_single_for_cpu(rig.dev, addr, 512, DMA_FROM_DEVICE, THERE);
  },
);

pair(
  'sync-range',
  'sync beyond the end of the mapping',
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_FROM_DEVICE, 1024);
    rig.linux.dma_sync_single_range_for_cpu(rig.dev, addr, 512, 1024, DMA_FROM_DEVICE, THERE);
  },
  (rig) => {
    const addr = mapChecked(rig, rig.page(), DMA_FROM_DEVICE, 1024);
    rig.linux.dma_sync_single_range_for_cpu(rig.dev, addr, 512, 512, DMA_FROM_DEVICE, THERE);
  },
  (finding) => assert.equal([finding.length, finding.mapping?.bytes], [1024, 1024]),
);

for (const [what, mapped, cpu] of [
  ['for the CPU of what the device only reads', DMA_TO_DEVICE, true],
  ['for the device of what it only writes', DMA_FROM_DEVICE, false],
] as const) {
  const other = mapped === DMA_TO_DEVICE ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
  const sync = (rig: Rig, dir: number) => {
    const addr = mapChecked(rig, rig.page(), mapped);
    if (cpu) rig.linux.dma_sync_single_for_cpu(rig.dev, addr, 512, dir, THERE);
    else rig.linux.dma_sync_single_for_device(rig.dev, addr, 512, dir, THERE);
  };
  test(`sync-direction a sync ${what} comes on top of the direction`, async () => {
    const found = await findings((rig) => sync(rig, other));
    assert.equal(
      found.map(({ rule }) => rule),
      ['map-direction', 'sync-direction'],
    );
    const [, finding] = found as [Finding, Finding];
    madeHere(finding);
  });
  test(`sync-direction the twin of: a sync ${what}, consistently so`, async () => {
    assert.equal(await findings((rig) => sync(rig, mapped)), []);
  });
}

test('DMA-07 findings never change what a call does', async () => {
  const machine = await createMachine({ ram: 'small' });
  const linux = bootLinux(machine);
  const dev = new Device(machine.addController({ kind: 'ahci' }));
  const page = linux.kernel.allocator.alloc({ from: 2 ** 32 }) as Page;
  const addr = linux.dma_map_page(dev, page, 0, 512, DMA_FROM_DEVICE);
  machine.memory.fill(addr, 5, 512);
  linux.dma_unmap_page(dev, addr, 512, DMA_BIDIRECTIONAL); // wrong direction, never checked: reported, and done
  assert.is(machine.memory.read8(page.phys), 5);
  assert.is(linux.swiotlb_usage().used, 0);
  assert.equal(
    machine.guard.findings().map(({ rule }) => rule),
    ['map-direction', 'map-error-unchecked'],
  );
});

test('equal findings are folded and counted', async () => {
  const found = await findings(({ linux, dev, page }) => {
    const { phys } = page();
    for (let i = 0; i < 5; i++) linux.dma_unmap_page(dev, phys, 512, DMA_TO_DEVICE, THERE);
  });
  assert.is(only(found, 'map-unknown').count, 5);
});
