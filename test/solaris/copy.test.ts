import { PAGE_SIZE } from '../../src/kernel/index.ts';
import { B_BUSY, B_PAGEIO, B_PHYS, FKIOCTL, PageListPtr } from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import {
  aBuf,
  assertBug,
  asUser,
  BASE,
  boot,
  filled,
  inInterrupt,
  locked,
  map,
  must,
  pattern,
  peek,
  setup,
} from './help.ts';
import { kernelPages, seen } from './physio-rig.ts';

const test = suite('solaris copyin');

test('bp_copyin and bp_copyout reach a user buf from any context, without mapping it in', async () => {
  const solaris = await boot({ placement: 'scatter' });
  asUser(solaris, function* (as) {
    const bytes = yield* filled(solaris, as, 3);
    const cookie = yield* locked(solaris, 3);
    const bp = yield* setup(solaris, cookie, 0x123, 0x2800);
    const into = new Uint8Array(0x2000);
    const { b_addr } = bp.b_un;
    assert.is(
      inInterrupt(solaris, () => solaris.bp_copyin(bp, into, 0x700, 0x2000)),
      0,
    );
    assert.equal(into, bytes.subarray(0x823, 0x2823));
    const other = pattern(0x1800, 9);
    assert.is(
      inInterrupt(solaris, () => solaris.bp_copyout(other, bp, 0x1000, 0x1800)),
      0,
    );
    assert.equal(yield* peek(solaris, as, BASE + 0x1123, 0x1800), other);
    assert.equal(yield* peek(solaris, as, BASE + 0x1113, 0x10), bytes.subarray(0x1113, 0x1123));
    assert.is(bp.b_un.b_addr, b_addr);
    assert.is(solaris.bp_copyin(bp, into, 0x2800, 0), 0);
    assertBug('bp-range', () => solaris.bp_copyin(bp, into, 0x2000, 0x801));
    assertBug('bp-range', () => solaris.bp_copyout(into, bp, -1, 1));
    assertBug('kernel-buffer', () => solaris.bp_copyin(bp, new Uint8Array(7), 0, 8));
    yield* solaris.bp_mapin(bp);
    assert.is(solaris.bp_copyin(bp, into, 0, 0x10), 0);
    assert.equal(into.subarray(0, 0x10), bytes.subarray(0x123, 0x133));
    solaris.bp_mapout(bp);
    solaris.freerbuf(bp);
    solaris.ddi_umem_unlock(cookie);
  });
});

test('bp_copyin and bp_copyout of listed pages, of the kernel’s memory, of what is not there', async () => {
  const solaris = await boot();
  const { allocator, kas } = solaris.kernel;
  const pages = [must(allocator.alloc()), must(allocator.alloc())];
  const bp = aBuf(solaris);
  bp.b_flags = B_BUSY | B_PAGEIO;
  bp.b_pages = new PageListPtr(pages);
  bp.b_un.b_addr = 0xf00;
  bp.b_bcount = 0x1100;
  const bytes = pattern(0x1100);
  assert.is(solaris.bp_copyout(bytes, bp, 0, 0x1100), 0);
  const into = new Uint8Array(0x1100);
  assert.is(solaris.bp_copyin(bp, into, 0, 0x1100), 0);
  assert.equal(into, bytes);
  assert.equal(solaris.kernel.memory.readBytes((pages[1]?.phys ?? 0) + 5, 4), bytes.subarray(0x105, 0x109));

  const kernel = aBuf(solaris);
  kernel.b_flags = B_BUSY;
  kernel.b_un.b_addr = kas.map(pages) + 0xf10;
  kernel.b_bcount = 0x200;
  assert.is(solaris.bp_copyin(kernel, into, 0, 0x200), 0);
  assert.equal(into.subarray(0, 0x200), bytes.subarray(0x10, 0x210));
  // Both sides by address.
  const target = kas.map([must(allocator.alloc()), must(allocator.alloc())]);
  assert.is(solaris.bp_copyin(bp, target + 0xe01, 0, 0x1000), 0);
  kas.read(target + 0xe01, into, 0x1000);
  assert.equal(into.subarray(0, 0x1000), bytes.subarray(0, 0x1000));

  bp.b_bcount = 0x1200; // one page more than it has
  assert.is(solaris.bp_copyin(bp, new Uint8Array(0x1200), 0, 0x1200), -1);
  asUser(solaris, function* (as, proc) {
    yield* map(as, BASE, 1);
    const user = must(yield* solaris.getrbuf(0));
    user.b_flags = B_BUSY | B_PHYS;
    user.b_proc = proc;
    user.b_un.b_addr = BASE;
    user.b_bcount = PAGE_SIZE;
    assert.is(solaris.bp_copyout(bytes, user, 0, 16), -1); // never touched
    solaris.freerbuf(user);
  });
});

test('copyin and copyout answer 0 or -1', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 2);
    const bytes = pattern(6000);
    const into = new Uint8Array(6000);
    assert.is(yield* solaris.copyout(bytes, BASE + 50, 6000), 0);
    assert.is(yield* solaris.copyin(BASE + 50, into, 6000), 0);
    assert.equal(into, bytes);
    assert.is(yield* solaris.copyin(BASE + 3000, into, 6000), -1);
    assert.is(yield* solaris.copyout(bytes, BASE + 3000, 6000), -1);
    assert.is(yield* solaris.copyin(0, into, 0), 0);
    const { address, cookie } = yield* kernelPages(solaris, 2);
    assert.is(yield* solaris.copyin(BASE + 50, address + 9, 2000), 0);
    assert.equal(seen(solaris, address + 9, 1000), bytes.subarray(0, 1000));
    solaris.ddi_umem_free(cookie);
  });
});

test('ddi_copyin and ddi_copyout take addresses of the kernel with FKIOCTL', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 1);
    const { address, cookie } = yield* kernelPages(solaris, 1);
    const bytes = pattern(64);
    const into = new Uint8Array(64);
    for (const [place, mode] of [
      [BASE, 0],
      [address, FKIOCTL],
      [address + 100, FKIOCTL | 3],
    ] as const) {
      into.fill(0);
      assert.is(yield* solaris.ddi_copyout(bytes, place, 64, mode), 0);
      assert.is(yield* solaris.ddi_copyin(place, into, 64, mode), 0);
      assert.equal(into, bytes);
    }
    assert.equal(yield* peek(solaris, as, BASE, 64), bytes);
    // Each kind of address means nothing to the other.
    assert.is(yield* solaris.ddi_copyin(address, into, 64, 0), -1);
    assert.is(yield* solaris.ddi_copyin(BASE, into, 64, FKIOCTL), -1);
    assert.is(yield* solaris.ddi_copyout(bytes, address, 64, 0), -1);
    assert.is(yield* solaris.ddi_copyout(bytes, BASE, 64, FKIOCTL), -1);
    solaris.ddi_umem_free(cookie);
  });
});
