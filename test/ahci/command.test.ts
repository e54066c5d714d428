import { assert, suite } from '../run/suite.ts';
import { ata, DATA, Hba, pattern, regs } from './hba.ts';

const test = suite('ahci: commands');

const GOOD = ata.ATA_STATUS_GOOD;

test('a DMA read scatters over descriptors of any even length (4.2.3.3)', async () => {
  const hba = await Hba.create();
  const bytes = pattern(4096, 1);
  hba.disk.write(512 * 9, bytes);
  const lengths = [2, 510, 1024, 6, 2554];
  let at = DATA;
  const prds = lengths.map((length) => {
    at += length + 2;
    return { address: at - length, bytes: length };
  });
  const tfd = hba.execute({ command: ata.ATA_READ_DMA_EXT, lba: 9, count: 8 }, prds);
  assert.is(tfd, GOOD);
  let from = 0;
  for (const prd of prds) {
    assert.ok(hba.machine.memory.equals(prd.address, bytes, from, prd.bytes));
    from += prd.bytes;
  }
  assert.is(hba.moved(), 4096);
  assert.is(hba.px(regs.AHCI_PX_CI), 0);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_DHRS);
  assert.is(hba.read(regs.AHCI_IS), 1);
});
