// Bufs that the hardware cannot use as they lie are copied by the driver; and what the driver claims of its hardware.

import type { Driver, DriverHost, DriverLimits } from '../../src/drivers/index.ts';
import { PAGE_SIZE } from '../../src/kernel/index.ts';
import {
  B_BUSY,
  B_PAGEIO,
  B_READ,
  B_REMAPPED,
  B_WRITE,
  DDI_UMEM_SLEEP,
  KM_SLEEP,
  PageListPtr,
  Pointer,
  rulesOf,
  type UmemCookie,
} from '../../src/solaris/index.ts';
import { altered } from '../drivers/altered.ts';
import { assert, suite } from '../run/suite.ts';
import { bootDisk, content, drop, HIGH, hold, inUse, MIB, move, process, rules } from './blkdev-rig.ts';
import { BASE, inThread, must, pattern, peek, poke } from './help.ts';

const test = suite('solaris blkdev copies');

const LIMITS: DriverLimits = {
  addressBits: 32,
  maxSegments: 16,
  maxSegmentBytes: 65536,
  boundaryMask: 0xffff,
  virtBoundaryMask: 0,
  alignmentMask: 1,
  maxSectors: 256,
  queueDepth: 1,
};

/** Attaches ours with other limits; `seen` gets the first segments of each command. */
function limited(limits: Partial<DriverLimits>, seen: number[][] = []): (host: DriverHost) => Driver {
  return altered((driver) => ({
    limits: { ...driver.limits, ...limits },
    submit(command) {
      const { addresses, lengths, count } = command.segments;
      seen.push([...addresses.subarray(0, count)].map((at, i) => (at % PAGE_SIZE) + (lengths[i] ?? 0) * 1e4));
      return driver.submit(command);
    },
  }));
}

test('DRV-05 the DMA attributes say the limits of the hardware', () => {
  const { attr, align, copies } = rulesOf(LIMITS, 512, true);
  assert.equal(attr, {
    dma_attr_version: 0,
    dma_attr_addr_lo: 0,
    dma_attr_addr_hi: 0xffffffff,
    dma_attr_count_max: 0xffff,
    dma_attr_align: 2,
    dma_attr_burstsizes: 1,
    dma_attr_minxfer: 1,
    dma_attr_maxxfer: 131072,
    dma_attr_seg: 0xffff,
    dma_attr_sgllen: 16,
    dma_attr_granular: 512,
    dma_attr_flags: 0,
  });
  assert.equal([align, copies], [2, false]);
  assert.is(rulesOf({ ...LIMITS, addressBits: 24 }, 512, true).attr.dma_attr_addr_hi, 0xffffff);
  assert.is(rulesOf({ ...LIMITS, addressBits: 24 }, 512, false).attr.dma_attr_addr_hi, 2 ** 64);
  assert.is(rulesOf(LIMITS, 4096, true).attr.dma_attr_granular, 4096);
});

test('DRV-08 a list of one takes bufs that begin at a sector’s multiple, and lists of whole pages none at all', () => {
  assert.is(rulesOf({ ...LIMITS, maxSegments: 1 }, 512, true).align, 512);
  const pages = rulesOf({ ...LIMITS, virtBoundaryMask: 4095 }, 512, true);
  assert.equal([pages.copies, pages.attr.dma_attr_sgllen], [false, 16]);
  const large = rulesOf({ ...LIMITS, virtBoundaryMask: 0xffff }, 512, true);
  assert.equal([large.copies, large.attr.dma_attr_sgllen], [true, 1]);
  assert.is(rulesOf({ ...LIMITS, alignmentMask: 8191 }, 512, true).copies, true);
});

for (const kind of ['piix-ide', 'ahci', 'nvme-nosgl', 'virtio-blk-segmax1']) {
  test(`DRV-08 ${kind}: a buf at an odd address is copied, both ways, and mapped out again`, async () => {
    const rig = await bootDisk({ kind });
    const before = inUse(rig);
    process(
      rig,
      48,
      function* (as) {
        const bytes = 42 * 4096;
        const held = yield* hold(rig, BASE + 0x123, bytes, 'read', 1);
        rig.solaris.bd_strategy(held.bp);
        assert.is(yield* rig.solaris.biowait(held.bp), 0);
        const { b_flags, b_un, b_resid } = held.bp;
        assert.equal([b_flags & B_REMAPPED, b_un.b_addr, b_resid], [0, BASE + 0x123, 0]);
        drop(rig, held);
        assert.equal(yield* peek(rig.solaris, as, BASE + 0x123, bytes), content(512, bytes));
        const sent = pattern(bytes, 9);
        yield* poke(rig.solaris, as, BASE + 0x77, sent);
        assert.equal(yield* move(rig, 'write', 8, bytes, BASE + 0x77), { error: 0, resid: 0, count: bytes });
        assert.equal(rig.medium.read(4096, bytes), sent);
        assert.equal(yield* peek(rig.solaris, as, BASE + 0x77, bytes), sent);
      },
      HIGH,
    );
    assert.equal([rules(rig), rig.solaris.kernel.warnings.all], [[], []]);
    assert.equal(inUse(rig), before);
  });
}

test('DRV-08 a buf that the hardware can use is not copied', async () => {
  const seen: number[][] = [];
  const rig = await bootDisk({ attach: { attach: limited({ alignmentMask: 511 }, seen) } });
  process(rig, 2, function* () {
    yield* move(rig, 'read', 0, 512, BASE + 0x200);
    yield* move(rig, 'read', 0, 512, BASE + 0x202);
  });
  assert.equal(seen, [[0x200 + 512e4], [512e4]]);
});

test('DRV-08 a device error in a copied buf leaves its bytes and gives everything back', async () => {
  const rig = await bootDisk();
  const before = inUse(rig);
  rig.machine.addFault({ disk: rig.medium, kind: 'error', operations: ['read'], first: 200, last: 200 });
  process(rig, 40, function* (as) {
    const bytes = 0x24000;
    const held = yield* move(rig, 'read', 0, bytes, BASE + 1);
    assert.equal([held.error, held.resid], [5, bytes - 0x10000]);
    assert.equal(yield* peek(rig.solaris, as, BASE + 1, 0x10000), content(0, 0x10000));
  });
  assert.equal(inUse(rig), before);
});

test('DRV-08 hardware that wants more than pages gets memory in one piece', async () => {
  const seen: number[][] = [];
  const rig = await bootDisk({ attach: { attach: limited({ virtBoundaryMask: 0xffff }, seen) } });
  process(rig, 36, function* (as) {
    const bytes = 0x20000;
    assert.equal(yield* move(rig, 'read', 5, bytes, BASE + 0x200), { error: 0, resid: 0, count: bytes });
    assert.equal(yield* peek(rig.solaris, as, BASE + 0x200, bytes), content(5 * 512, bytes));
  });
  assert.equal(seen, [[0x10000 * 1e4], [0x10000 * 1e4]]);
  assert.equal(rules(rig), []);
});

test('DRV-08 pieces of a copy are whole sectors, whatever the hardware takes at once', async () => {
  const seen: number[][] = [];
  const limits = { virtBoundaryMask: 0xffff, maxSegmentBytes: 5000 };
  const rig = await bootDisk({ attach: { attach: limited(limits, seen) } });
  process(rig, 4, function* (as) {
    const bytes = 18 * 512;
    assert.equal(yield* move(rig, 'read', 5, bytes, BASE + 0x200), { error: 0, resid: 0, count: bytes });
    assert.equal(yield* peek(rig.solaris, as, BASE + 0x200, bytes), content(5 * 512, bytes));
  });
  assert.equal(seen, [[9 * 512e4], [9 * 512e4]]);
});

test('DRV-08 memory of the kernel and pages that the buf lists are copied alike', async () => {
  const rig = await bootDisk();
  const { solaris, medium } = rig;
  const { kernel } = solaris;
  inThread(solaris, function* () {
    const cookiep = new Pointer<UmemCookie>();
    const address = must(yield* solaris.ddi_umem_alloc(8192, DDI_UMEM_SLEEP, cookiep));
    kernel.kas.write(address + 33, pattern(4096, 3));
    const cookie = must(cookiep.value);
    const bp = must(
      yield* solaris.ddi_umem_iosetup(cookie, 33, 4096, B_WRITE, rig.disk.dev, 2, null, DDI_UMEM_SLEEP),
    );
    solaris.bd_strategy(bp);
    assert.is(yield* solaris.biowait(bp), 0);
    solaris.freerbuf(bp);
    solaris.ddi_umem_free(cookie);
    assert.equal(medium.read(1024, 4096), pattern(4096, 3));

    const pages = [0, 1].map(() => must(kernel.allocator.alloc({ tag: 'pages' })));
    const listed = must(yield* solaris.getrbuf(KM_SLEEP));
    listed.b_flags = B_BUSY | B_PAGEIO | B_READ;
    listed.b_pages = new PageListPtr(pages);
    listed.b_un.b_addr = 5;
    listed.b_bcount = 4096;
    listed.b_lblkno = 100;
    listed.b_edev = rig.disk.dev;
    solaris.bd_strategy(listed);
    assert.is(yield* solaris.biowait(listed), 0);
    assert.is(listed.b_un.b_addr, 5);
    solaris.freerbuf(listed);
    const got = pages.flatMap(({ phys }) => [...rig.machine.memory.readBytes(phys, 4096)]);
    assert.equal(Uint8Array.from(got.slice(5, 4101)), content(51200, 4096));
  });
  assert.equal(rules(rig), []);
});

test('DRV-05 a driver whose limits no attributes can say is refused', async () => {
  for (const limits of [{ boundaryMask: 511 }, { maxSegmentBytes: 512 }, { maxSectors: 4 }]) {
    try {
      await bootDisk({ attach: { attach: limited(limits) } });
      assert.unreachable();
    } catch (error) {
      assert.match((error as Error).message, /limits that no DMA attributes can say/);
    }
  }
});

test('map-mask a driver that claims everything is reported, and what it cuts hits other memory', async () => {
  const rig = await bootDisk({ kind: 'aha1542', attach: { bounce: false } });
  process(
    rig,
    1,
    function* (as) {
      assert.equal(yield* move(rig, 'read', 0, 4096), { error: 0, resid: 0, count: 4096 });
      assert.equal(yield* peek(rig.solaris, as, BASE, 4096), pattern(4096));
    },
    { from: 2 ** 32 + 5 * MIB, below: 2 ** 32 + 6 * MIB },
  );
  assert.equal(rules(rig), ['map-mask', 'map-mask', 'dev-unmapped']);
  const cut = must(rig.machine.guard.findings()[1]);
  assert.match(cut.message, /cut to 24 bits, in the driver of aha1542/);
});

test('map-mask memory that begins where the lines of the board end is cut, too', async () => {
  const rig = await bootDisk({ kind: 'aha1542', attach: { bounce: false } });
  process(
    rig,
    1,
    function* () {
      assert.is((yield* move(rig, 'write', 0, 512)).error, 0);
    },
    { from: 16 * MIB, below: 16 * MIB + 4096 },
  );
  assert.ok(rig.machine.guard.findings().some(({ message }) => /cut to 24 bits/.test(message)));
});

test('map-mask the twin whose memory is in reach is silent', async () => {
  const rig = await bootDisk({ kind: 'aha1542', attach: { bounce: false } });
  process(
    rig,
    1,
    function* (as) {
      assert.equal(yield* move(rig, 'read', 0, 4096), { error: 0, resid: 0, count: 4096 });
      assert.equal(yield* peek(rig.solaris, as, BASE, 4096), content(0, 4096));
    },
    { below: 16 * MIB },
  );
  assert.equal(rules(rig), []);
});
