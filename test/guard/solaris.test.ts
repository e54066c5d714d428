// Mistakes that only drivers of Solaris can make, or make in another way than those of Linux: for each the program that
// makes it, and its twin that does it right and is silent.

import type { Access, Finding, Rule } from '../../src/guard/index.ts';
import { type AllocOptions, PAGE_SIZE, type Sleeps } from '../../src/kernel/index.ts';
import {
  DDI_DMA_CONSISTENT,
  DDI_DMA_INUSE,
  DDI_DMA_MAPPED,
  DDI_DMA_RDWR,
  DDI_DMA_READ,
  DDI_DMA_SYNC_FORCPU,
  DDI_DMA_SYNC_FORDEV,
  DDI_DMA_WRITE,
  DDI_SUCCESS,
  DDI_UMEMLOCK_READ,
  DDI_UMEMLOCK_WRITE,
  type DdiDmaHandle,
  Pointer,
  type UmemCookie,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { type BdRig, bootDisk, drop, type Held, HIGH, hold, process } from '../solaris/blkdev-rig.ts';
import { boot, type Device, transfer } from '../solaris/dma-disk.ts';
import { alloc, apart, attr, bind, bindPartial, getwin, high } from '../solaris/dma-rig.ts';
import { assertBug, BASE, locked, must, setup } from '../solaris/help.ts';

const test = suite('guard solaris');

// ---- whose memory it is

/** Memory that the device reaches, from 4 MiB on, and what else the tests move. */
const AT = 0x400000;

interface Expected {
  readonly from: number;
  readonly length: number;
  readonly direction: Access;
  readonly kind?: string;
}

interface PairOptions {
  /** Pages of the buf. Default: one within reach, and one that is not. */
  readonly pages?: readonly number[];
  readonly read?: boolean;
  readonly limits?: { readonly [name: string]: number };
}

/** A device, and pages that may be sent to it. */
async function filledRig(of: Parameters<typeof boot>[0]): Promise<Device> {
  const d = await boot(of);
  for (const { phys } of d.pages) d.memory.fill(phys, 0x41, PAGE_SIZE);
  return d;
}

/** The mistake is one finding with these fields, the twin none. */
function pair(
  rule: Rule,
  what: string,
  mistake: (d: Device) => void,
  expected: Expected,
  twin: (d: Device) => void,
  { pages = [AT, 2 ** 32], read = true, limits = {} }: PairOptions = {},
): void {
  const rig = (): Promise<Device> => filledRig({ kind: 'ahci-32bit', pages, limits, read });
  test(`${rule} ${what}`, async () => {
    const d = await rig();
    mistake(d);
    const found = d.solaris.kernel.machine.guard.findings();
    assert.equal(
      found.map((finding) => finding.rule),
      [rule],
    );
    const [finding] = found as [Finding];
    assert.is(finding.device, 'ahci.0');
    assert.is(finding.address, expected.from);
    assert.equal([finding.length, finding.direction], [expected.length, expected.direction]);
    assert.is(finding.mapping?.kind, 'ddi_dma_buf_bind_handle');
    assert.is(finding.count, 1);
  });
  test(`${rule} the twin of: ${what}`, async () => {
    const d = await rig();
    twin(d);
    assert.equal(d.solaris.kernel.machine.guard.findings(), []);
  });
}

/** The device moves the current window from or to the beginning of the disk. */
function move(d: Device, op: 'read' | 'write'): void {
  transfer(d, op, 0, d.handle.binding?.cookies ?? []);
}

function sync({ solaris, handle }: Device, off: number, len: number, type: number): void {
  assert.is(solaris.ddi_dma_sync(handle, off, len, type), DDI_SUCCESS);
}

pair(
  'own-cpu',
  'the CPU writes memory that the device is to write',
  (d) => {
    bind(d, DDI_DMA_READ);
    d.memory.fill(AT + 8, 7, 16);
    d.memory.fill(AT + 8, 7, 16); // told once
  },
  { from: AT + 8, length: 16, direction: 'write' },
  (d) => {
    d.memory.fill(AT + 8, 7, 16);
    bind(d, DDI_DMA_READ);
    move(d, 'read');
    d.solaris.ddi_dma_unbind_handle(d.handle);
    d.memory.fill(AT + 8, 7, 16);
  },
);

pair(
  'own-cpu',
  'the CPU writes memory behind the copy buffer, which the next copy loses',
  (d) => {
    bind(d, DDI_DMA_READ);
    d.memory.write32(2 ** 32 + 100, 7);
  },
  { from: 2 ** 32 + 100, length: 4, direction: 'write' },
  (d) => {
    bind(d, DDI_DMA_READ);
    move(d, 'read');
    sync(d, 0, 0, DDI_DMA_SYNC_FORCPU);
    d.memory.write32(2 ** 32 + 100, 7);
  },
);

pair(
  'handle-rebind',
  'a handle that is bound is bound again',
  (d) => {
    assert.is(bind(d, DDI_DMA_READ), DDI_DMA_MAPPED);
    assert.is(bind(d, DDI_DMA_READ), DDI_DMA_INUSE);
  },
  { from: AT, length: 2 * PAGE_SIZE, direction: 'write' },
  (d) => {
    for (let i = 0; i < 2; i++) {
      assert.is(bind(d, DDI_DMA_READ), DDI_DMA_MAPPED);
      d.solaris.ddi_dma_unbind_handle(d.handle);
    }
  },
);

for (const freed of [true, false]) {
  test(`handle-rebind a handle is used ${freed ? 'that was freed' : 'and freed: its twin'}`, async () => {
    const d = await filledRig({ kind: 'ahci-32bit', pages: [AT], limits: {}, read: true });
    const { solaris, handle } = d;
    const handlep = new Pointer<DdiDmaHandle>();
    handlep.value = handle;
    if (freed) solaris.ddi_dma_free_handle(handlep);
    const use = (): number => solaris.ddi_dma_burstsizes(handle);
    if (freed) assertBug('HDL-08', use);
    else assert.is(use(), handle.attr.dma_attr_burstsizes);
    if (!freed) solaris.ddi_dma_free_handle(handlep);
    const found = solaris.kernel.machine.guard.findings();
    assert.equal(rulesOf(found), freed ? ['handle-rebind'] : []);
    if (freed) assert.match(found[0]?.message ?? '', 'ddi_dma_burstsizes() of a handle that was freed');
    if (freed) assert.equal([found[0]?.device, found[0]?.address], ['ahci.0', null]);
  });
}

pair(
  'sync-missing',
  'the CPU reads what the device wrote without a sync',
  (d) => {
    bind(d, DDI_DMA_READ);
    move(d, 'read');
    sync(d, PAGE_SIZE, 512, DDI_DMA_SYNC_FORCPU); // other bytes
    d.memory.readBytes(AT + 4, 12);
  },
  { from: AT + 4, length: 12, direction: 'write' },
  (d) => {
    bind(d, DDI_DMA_READ);
    move(d, 'read');
    sync(d, 4, 12, DDI_DMA_SYNC_FORCPU);
    d.memory.readBytes(AT + 4, 12);
  },
  { pages: [AT, AT + 2 * PAGE_SIZE] },
);

pair(
  'own-cpu',
  'the CPU looks for data before the device has written any',
  (d) => {
    bind(d, DDI_DMA_READ);
    d.memory.read8(AT + 9);
  },
  { from: AT + 9, length: 1, direction: 'write' },
  (d) => {
    bind(d, DDI_DMA_READ);
    move(d, 'read');
    d.solaris.ddi_dma_unbind_handle(d.handle); // a sync
    d.memory.read8(AT + 9);
  },
);

pair(
  'sync-missing',
  'the device reads what the CPU wrote without a sync',
  (d) => {
    bind(d, DDI_DMA_WRITE);
    d.memory.fill(AT + 12, 7, 12);
    d.memory.fill(AT + 8, 7, 4); // in front of it
    move(d, 'write');
  },
  { from: AT + 8, length: 16, direction: 'read' },
  (d) => {
    bind(d, DDI_DMA_WRITE);
    d.memory.fill(AT + 8, 7, 16);
    d.memory.read8(AT + 9); // both may read
    sync(d, 0, 0x100, DDI_DMA_SYNC_FORDEV);
    move(d, 'write');
    d.memory.fill(AT + 8, 7, 16); // for the next time
    sync(d, 8, 16, DDI_DMA_SYNC_FORDEV);
    move(d, 'write');
    d.memory.fill(AT + 8, 7, 16);
    d.solaris.ddi_dma_unbind_handle(d.handle);
  },
  { read: false },
);

pair(
  'sync-missing',
  'a sync of other bytes than those that were written',
  (d) => {
    bind(d, DDI_DMA_WRITE);
    d.memory.fill(AT + 0x100, 7, 0x20);
    sync(d, 0, 0x110, DDI_DMA_SYNC_FORDEV); // of the first half
    move(d, 'write');
  },
  { from: AT + 0x110, length: 0x10, direction: 'read' },
  (d) => {
    bind(d, DDI_DMA_WRITE);
    d.memory.fill(AT + 0x100, 7, 0x20);
    sync(d, 0x100, 0x20, DDI_DMA_SYNC_FORDEV);
    move(d, 'write');
  },
  { read: false },
);

pair(
  'sync-missing',
  'a second buf over the same memory does not know of what was written under the first',
  (d) => {
    bind(d, DDI_DMA_WRITE);
    d.memory.fill(AT, 7, 16);
    move(d, 'write');
  },
  { from: AT, length: 16, direction: 'read' },
  (d) => {
    bind(d, DDI_DMA_WRITE);
    d.memory.fill(AT, 7, 16);
    const first = d.handle;
    const second = { ...d, handle: alloc(d.solaris, d.dip, attr({ granular: 512 })) };
    bind(second, DDI_DMA_WRITE); // a sync of the memory, which the first has direct, too
    move(second, 'write');
    d.solaris.ddi_dma_unbind_handle(second.handle);
    d.solaris.ddi_dma_unbind_handle(first);
  },
  { read: false, pages: [AT] },
);

pair(
  'sync-missing',
  'the CPU reads memory that both write',
  (d) => {
    bind(d, DDI_DMA_RDWR);
    move(d, 'read');
    d.memory.read32(AT);
  },
  { from: AT, length: 4, direction: 'both' },
  (d) => {
    bind(d, DDI_DMA_RDWR);
    d.memory.read32(AT); // the device has not written
    d.memory.write32(AT, 7);
    sync(d, 0, 4, DDI_DMA_SYNC_FORDEV);
    move(d, 'write');
    move(d, 'read');
    sync(d, 0, 0, DDI_DMA_SYNC_FORCPU);
    d.memory.read32(AT);
  },
);

pair(
  'sync-missing',
  'the CPU reads twice what the device wrote: it is told once',
  (d) => {
    bind(d, DDI_DMA_READ);
    move(d, 'read');
    for (const at of [AT, AT + 8]) d.memory.read32(at);
  },
  { from: AT, length: 4, direction: 'write' },
  (d) => {
    bind(d, DDI_DMA_RDWR);
    d.memory.write32(AT, 7);
    sync(d, 0, 4, DDI_DMA_SYNC_FORDEV);
    move(d, 'read');
    d.memory.read32(AT); // may be its own
  },
);

pair(
  'own-cpu',
  'the CPU writes into the window that is the device’s now',
  (d) => {
    bindPartial(d, DDI_DMA_READ);
    getwin(d, 1);
    d.memory.write8(AT + 2 * PAGE_SIZE, 1);
  },
  { from: AT + 2 * PAGE_SIZE, length: 1, direction: 'write' },
  (d) => {
    bindPartial(d, DDI_DMA_READ);
    getwin(d, 1);
    d.memory.write8(AT, 1); // the window before
  },
  { pages: apart(AT, 2), limits: { sgllen: 1 } },
);

test('own-cpu the last byte of a buf may be alone in its page', async () => {
  const d = await filledRig({
    kind: 'ahci-32bit',
    pages: [AT, AT + PAGE_SIZE],
    limits: {},
    length: PAGE_SIZE + 1,
  });
  bind(d, DDI_DMA_READ);
  d.memory.write8(AT + PAGE_SIZE + 1, 7); // behind it
  assert.equal(d.solaris.kernel.machine.guard.findings(), []);
  d.memory.write8(AT + PAGE_SIZE, 7);
  assert.equal(
    d.solaris.kernel.machine.guard.findings().map(({ rule, address }) => [rule, address]),
    [['own-cpu', AT + PAGE_SIZE]],
  );
});

test('own-cpu sync-missing memory bound as consistent is both sides’ all the time', async () => {
  const d = await filledRig({ kind: 'ahci-32bit', pages: [AT], limits: {}, read: true });
  bind(d, DDI_DMA_RDWR | DDI_DMA_CONSISTENT);
  d.memory.fill(AT, 7, 512);
  move(d, 'write');
  move(d, 'read');
  d.memory.read32(AT);
  assert.equal(d.solaris.kernel.machine.guard.findings(), []);
});

test('own-cpu sync-missing what goes through the copy buffer is copied by the kernel, which owns nothing', async () => {
  const options = { dmaCopyBufferBytes: 2 * PAGE_SIZE };
  const d = await filledRig({ kind: 'ahci-32bit', pages: high(5), limits: {}, options, read: true });
  bindPartial(d, DDI_DMA_RDWR);
  for (const win of [1, 0, 2]) getwin(d, win);
  sync(d, 0, 0, DDI_DMA_SYNC_FORDEV);
  sync(d, 0, 0, DDI_DMA_SYNC_FORCPU);
  d.solaris.ddi_dma_unbind_handle(d.handle);
  assert.equal(d.solaris.kernel.machine.guard.findings(), []);
});

// ---- what is locked

/** What a process does with a transfer of its memory; the rules that it breaks, and the findings. */
async function breaks(
  kind: string,
  from: AllocOptions | undefined,
  body: (rig: BdRig) => Sleeps<void>,
): Promise<readonly Finding[]> {
  const rig = await bootDisk({ kind });
  process(rig, 3, () => body(rig), from);
  return rig.machine.guard.findings();
}

const rulesOf = (found: readonly Finding[]): Rule[] => found.map(({ rule }) => rule);

/** A read of a page and a half that has left for the disk. */
function* begun(rig: BdRig): Sleeps<Held> {
  const held = yield* hold(rig, BASE, 0x1800, 'read', 0);
  rig.solaris.bd_strategy(held.bp);
  return held;
}

test('use-after-unlock UMEM-07 the disk writes pages that ddi_umem_unlock() has given up', async () => {
  let unlocked = -1;
  const found = await breaks('ahci', undefined, function* (rig) {
    const { bp, cookie } = yield* begun(rig);
    rig.solaris.ddi_umem_unlock(cookie);
    unlocked = rig.machine.now();
    assert.not.ok(
      rulesOf(rig.machine.guard.findings()).includes('use-after-unlock'),
      'nothing was moved yet',
    );
    assert.is(yield* rig.solaris.biowait(bp), 0); // the unlock stops nobody
    rig.solaris.freerbuf(bp);
  });
  assert.equal([...new Set(rulesOf(found))], ['free-mapped', 'use-after-unlock']);
  const used = found.filter(({ rule }) => rule === 'use-after-unlock');
  assert.is(
    used.reduce((sum, { length }) => sum + length, 0),
    0x1800,
  );
  for (const { direction, device, time, mapping } of used) {
    assert.equal([direction, device, mapping?.kind], ['write', 'ahci.0', 'ddi_dma_buf_bind_handle']);
    assert.ok(time > unlocked, 'at the moment of the access');
  }
});

test('use-after-unlock UMEM-07 the kernel copies into pages that ddi_umem_unlock() has given up', async () => {
  const found = await breaks('aha1542', HIGH, function* (rig) {
    const { bp, cookie } = yield* begun(rig);
    rig.solaris.ddi_umem_unlock(cookie);
    assert.is(yield* rig.solaris.biowait(bp), 0);
    rig.solaris.freerbuf(bp);
    const warned = rig.solaris.kernel.warnings.all.filter(({ rule }) => rule === 'UMEM-07'); // without a guard, too
    assert.equal(
      warned.map(({ count }) => count),
      [2],
    );
  });
  assert.equal(rulesOf(found), ['free-mapped', 'free-mapped', 'use-after-unlock', 'use-after-unlock']);
  assert.match(found[2]?.message ?? '', 'is copied after it was unlocked');
  assert.ok((found[2]?.address ?? 0) >= 2 ** 32);
});

test('use-after-unlock UMEM-07 windows that come after the unlock are no more allowed than the current one', async () => {
  const found = await breaks('nvme-mdts1', undefined, function* (rig) {
    const { bp, cookie } = yield* hold(rig, BASE, 3 * PAGE_SIZE, 'read', 0);
    rig.solaris.bd_strategy(bp);
    rig.solaris.ddi_umem_unlock(cookie);
    assert.is(yield* rig.solaris.biowait(bp), 0);
    assert.is(rig.medium.counters.reads, 2); // windows
    rig.solaris.freerbuf(bp);
  });
  const used = found.filter(({ rule }) => rule === 'use-after-unlock');
  assert.is(
    used.reduce((sum, { length }) => sum + length, 0),
    3 * PAGE_SIZE,
  );
});

test('use-after-unlock UMEM-07 a buf whose memory was unlocked before it is sent', async () => {
  const found = await breaks('nvme', undefined, function* (rig) {
    const { bp, cookie } = yield* hold(rig, BASE, 0x1800, 'write', 0);
    rig.solaris.ddi_umem_unlock(cookie);
    rig.solaris.bd_strategy(bp);
    yield* rig.solaris.biowait(bp);
    rig.solaris.freerbuf(bp);
  });
  assert.equal([...new Set(rulesOf(found))], ['use-after-unlock']);
  assert.is(found[0]?.direction, 'read');
});

test('use-after-unlock UMEM-07 of two locks one goes: pages that the other holds stay the device’s', async () => {
  const found = await breaks('ahci', { placement: 'contiguous' }, function* (rig) {
    const { bp, cookie } = yield* begun(rig);
    const other: UmemCookie = yield* locked(rig.solaris, 1, DDI_UMEMLOCK_READ, BASE);
    assert.is([...rig.solaris.dma_bound()].at(-1)?.binding?.cookies.length, 1, 'both pages are in it');
    rig.solaris.ddi_umem_unlock(cookie);
    assert.is(yield* rig.solaris.biowait(bp), 0);
    rig.solaris.freerbuf(bp);
    rig.solaris.ddi_umem_unlock(other);
  });
  assert.equal(rulesOf(found), ['free-mapped', 'use-after-unlock']);
  assert.equal([found[1]?.address, found[1]?.length], [found[0]?.address, 0x800]);
});

for (const [kind, from] of [
  ['ahci', undefined],
  ['aha1542', HIGH],
  ['nvme', undefined],
] as const) {
  test(`use-after-unlock the twin on ${kind}: unlocked when the transfer has ended`, async () => {
    const found = await breaks(kind, from, function* (rig) {
      const held = yield* begun(rig);
      const again = yield* locked(rig.solaris, 3);
      rig.solaris.ddi_umem_unlock(again); // another lock of the same pages
      assert.is(yield* rig.solaris.biowait(held.bp), 0);
      drop(rig, held);
    });
    assert.equal(found, []);
  });
}

for (const [flags, broken] of [
  [DDI_UMEMLOCK_READ, ['pin-readonly', 'pin-readonly']],
  [DDI_UMEMLOCK_WRITE, []],
] as const) {
  test(`pin-readonly IOSETUP-04 a read into memory locked ${broken.length > 0 ? 'for reading' : 'for writing: its twin'}`, async () => {
    const found = await breaks('ahci', undefined, function* (rig) {
      const cookie = yield* locked(rig.solaris, 2, flags);
      const bp = yield* setup(rig.solaris, cookie, 0, 0x1800);
      bp.b_edev = rig.disk.dev;
      rig.solaris.bd_strategy(bp);
      assert.is(yield* rig.solaris.biowait(bp), 0);
      rig.solaris.freerbuf(bp);
      rig.solaris.ddi_umem_unlock(cookie);
    });
    assert.equal(rulesOf(found), broken);
    if (broken.length > 0) assert.equal([found[0]?.length, found[0]?.direction], [PAGE_SIZE, 'write']);
  });
}

for (const early of [true, false]) {
  test(`user-unmapped ULOCK-16 a fork ${early ? 'while the disk writes the memory' : 'behind the transfer: its twin'}`, async () => {
    const found = await breaks('ahci', undefined, function* (rig) {
      const as = must(rig.solaris.kernel.curproc.p_as);
      const held = yield* begun(rig);
      if (!early) yield* rig.solaris.biowait(held.bp);
      const child = must(yield* as.fork());
      if (early) yield* rig.solaris.biowait(held.bp);
      drop(rig, held);
      yield* child.drop();
    });
    assert.equal(rulesOf(found), early ? ['user-unmapped', 'user-unmapped'] : []);
    if (early) assert.equal([found[0]?.length, found[0]?.direction], [PAGE_SIZE, 'write']);
  });
}

for (const looks of [false, true]) {
  test(`done-short a buf ends before all of it is done, ${looks ? 'and its twin looks' : 'and nobody looks at b_resid'}`, async () => {
    const found = await breaks('ahci', undefined, function* (rig) {
      const held = yield* hold(rig, BASE, 2048, 'read', rig.disk.about.sectors - 1);
      rig.solaris.bd_strategy(held.bp);
      assert.is(yield* rig.solaris.biowait(held.bp), 0);
      if (looks) assert.is(held.bp.b_resid, 1536);
      drop(rig, held);
    });
    assert.equal(rulesOf(found), looks ? [] : ['done-short']);
    if (!looks) assert.equal([found[0]?.length, found[0]?.direction], [1536, 'write']);
  });
}
