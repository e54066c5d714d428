// Pinned pages: for each rule the program that makes the mistake, which is reported with the page, its pin and the
// mapping, and its twin that does it right and is silent.

import type { Access, Finding, Rule } from '../../src/guard/index.ts';
import { type AddressSpace, PAGE_SIZE, type Page, type Sleeps } from '../../src/kernel/index.ts';
import { DMA_FROM_DEVICE, DMA_TO_DEVICE } from '../../src/linux/index.ts';
import { BASE, map, pageAt, pattern, poke } from '../linux/user.ts';
import { assert, suite } from '../run/suite.ts';
import { boot, HERE, type Rig } from './rig.ts';

const test = suite('guard pin');

/** Runs a process with one page of memory at BASE. */
function asProcess(rig: Rig, body: (mm: AddressSpace) => Sleeps<void>): void {
  const { linux } = rig;
  const task = linux.kernel.spawnProcess('victim', function* (_task, mm) {
    yield* map(mm, BASE, 1);
    yield* poke(linux, mm, BASE, pattern(PAGE_SIZE));
    rig.at = pageAt(mm, BASE).phys;
    yield* body(mm);
  });
  linux.kernel.scheduler.run({ until: task });
}

function* pin({ linux }: Rig, write: boolean): Sleeps<Page> {
  const pages: (Page | null)[] = [];
  assert.is(yield* linux.get_user_pages_fast(BASE, 1, write, pages), 1);
  return pages[0] as Page;
}

interface Expected {
  readonly direction: Access;
  /** The rule concerns a mapping. */
  readonly mapped: boolean;
  readonly bytes?: number;
}

function pair(
  rule: Rule,
  what: string,
  mistake: (rig: Rig, mm: AddressSpace) => Sleeps<void>,
  expected: Expected,
  twin: (rig: Rig, mm: AddressSpace) => Sleeps<void>,
): void {
  test(`${rule} ${what}`, async () => {
    const rig = await boot();
    asProcess(rig, (mm) => mistake(rig, mm));
    const found = rig.machine.guard.findings();
    assert.equal(
      found.map((finding) => finding.rule),
      [rule],
    );
    const [finding] = found as [Finding];
    assert.equal([finding.address, finding.length], [rig.at, expected.bytes ?? PAGE_SIZE]);
    assert.is(finding.direction, expected.direction);
    assert.is(finding.mapping?.where, expected.mapped ? HERE : undefined);
    assert.is(finding.device === null, !expected.mapped);
    if (expected.bytes === undefined) assert.match(finding.message, 'pinned by victim at 0x100000');
  });
  test(`${rule} the twin of: ${what}`, async () => {
    const rig = await boot();
    asProcess(rig, (mm) => twin(rig, mm));
    assert.is(rig.linux.kernel.allocator.usage().get('user'), undefined);
    assert.equal(rig.machine.guard.findings(), []);
  });
}

/** The disk writes the page, through a mapping that is right. */
function readInto(rig: Rig, page: Page): void {
  const addr = rig.map(page, 512, DMA_FROM_DEVICE);
  rig.transfer('read', addr, 512);
  rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_FROM_DEVICE);
}

pair(
  'pin-undirtied',
  'a page that the disk wrote is unpinned as it is',
  function* (rig) {
    const page = yield* pin(rig, true);
    readInto(rig, page);
    rig.linux.put_page(page);
  },
  { direction: 'write', mapped: true },
  function* (rig) {
    const page = yield* pin(rig, true);
    readInto(rig, page);
    yield* rig.linux.set_page_dirty_lock(page);
    rig.linux.put_page(page);
    const before = yield* pin(rig, true);
    yield* rig.linux.set_page_dirty_lock(before); // as direct I/O does it: dirty before, a look at the end
    readInto(rig, before);
    rig.linux.put_page(before);
    const only = yield* pin(rig, false);
    const addr = rig.map(only, 512, DMA_TO_DEVICE);
    rig.transfer('write', addr, 512);
    rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_TO_DEVICE);
    rig.linux.put_page(only);
  },
);

pair(
  'pin-readonly',
  'a page that was pinned to be read is mapped for the disk to write',
  function* (rig) {
    const page = yield* pin(rig, false);
    readInto(rig, page);
    yield* rig.linux.set_page_dirty_lock(page);
    rig.linux.put_page(page);
  },
  { direction: 'read', mapped: true },
  function* (rig) {
    const pins = [yield* pin(rig, false), yield* pin(rig, true)];
    const [page] = pins as [Page, Page];
    readInto(rig, page);
    yield* rig.linux.set_page_dirty_lock(page);
    rig.linux.release_pages(pins, 2);
  },
);

pair(
  'free-mapped',
  'a page of a process is unpinned before it is unmapped',
  function* (rig) {
    const page = yield* pin(rig, true);
    rig.map(page, 512, DMA_TO_DEVICE);
    rig.linux.put_page(page);
  },
  { direction: 'read', mapped: true, bytes: 512 },
  function* (rig) {
    const page = yield* pin(rig, true);
    const addr = rig.map(page, 512, DMA_TO_DEVICE);
    rig.linux.get_page(page);
    rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_TO_DEVICE);
    rig.linux.release_pages([page, page], 2);
  },
);

pair(
  'user-unmapped',
  'a process unmaps what the disk is writing',
  function* (rig, mm) {
    const page = yield* pin(rig, true);
    const addr = rig.map(page, 512, DMA_FROM_DEVICE);
    assert.is(yield* mm.munmap(BASE, PAGE_SIZE), 0);
    rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_FROM_DEVICE);
    rig.linux.put_page(page);
  },
  { direction: 'write', mapped: true },
  function* (rig, mm) {
    const page = yield* pin(rig, true);
    const addr = rig.map(page, 512, DMA_FROM_DEVICE);
    rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_FROM_DEVICE);
    assert.is(yield* mm.munmap(BASE, PAGE_SIZE), 0);
    rig.linux.put_page(page);
  },
);

pair(
  'user-unmapped',
  'a process forks what the disk is writing',
  function* (rig, mm) {
    const page = yield* pin(rig, true);
    const addr = rig.map(page, 512, DMA_FROM_DEVICE);
    const child = yield* mm.fork();
    rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_FROM_DEVICE);
    rig.linux.put_page(page);
    yield* child?.drop() ?? [];
  },
  { direction: 'write', mapped: true },
  function* (rig, mm) {
    const page = yield* pin(rig, true);
    const addr = rig.map(page, 512, DMA_TO_DEVICE); // both processes keep what is there
    const child = yield* mm.fork();
    rig.linux.dma_unmap_page(rig.dev, addr, 512, DMA_TO_DEVICE);
    rig.linux.put_page(page);
    yield* child?.drop() ?? [];
  },
);

pair(
  'pin-leak',
  'a process ends and its page stays pinned',
  function* (rig) {
    yield* pin(rig, true);
  },
  { direction: 'write', mapped: false },
  function* (rig) {
    rig.linux.put_page(yield* pin(rig, true));
  },
);

test('pin-leak a page that a device still has is told when the device goes, or not at all', async () => {
  for (const leaks of [false, true]) {
    const rig = await boot();
    const { linux, dev, machine } = rig;
    let page: Page | null = null;
    let addr = 0;
    asProcess(rig, function* () {
      page = yield* pin(rig, true);
      addr = rig.map(page, 512, DMA_TO_DEVICE);
    });
    assert.equal(machine.guard.findings(), []); // the process is gone, its I/O is not
    linux.dma_unmap_page(dev, addr, 512, DMA_TO_DEVICE);
    if (!leaks) linux.put_page(page as unknown as Page);
    linux.dma_release_device(dev);
    assert.equal(
      machine.guard.findings().map(({ rule, address }) => [rule, address]),
      leaks ? [['pin-leak', rig.at]] : [],
    );
  }
});
