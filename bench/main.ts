// npm run bench [-- --json]: what the way through the emulator costs, as ratios to raw memory.copy of the same
// bytes in the same run. Higher is better; 1 is as fast as memory.copy.

import { driverRow, SPAN } from './driver.ts';
import { measure, type Row } from './measure.ts';
import { rawCopy } from './raw.ts';

const KIB = 1024;
const MIB = 2 ** 20;

const raw = await rawCopy(SPAN);
const pairs = [await driverRow(raw, 4 * KIB, 4 * KIB, 8192), await driverRow(raw, MIB, 64 * KIB, 256)];
const rows: Row[] = [];
for (const pair of pairs) {
  process.stderr.write(`measuring: ${pair.name}\n`);
  rows.push(measure(pair));
}

if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
else {
  process.stdout.write(
    '| row | ratio to raw copy | lowest–highest | ns an operation | ns raw |\n|---|---|---|---|---|\n',
  );
  for (const { name, ratio, lowest, highest, ns, rawNs } of rows) {
    const range = `${lowest.toFixed(2)}–${highest.toFixed(2)}`;
    process.stdout.write(
      `| ${name} | ${ratio.toFixed(2)} | ${range} | ${ns.toFixed(0)} | ${rawNs.toFixed(0)} |\n`,
    );
  }
}
