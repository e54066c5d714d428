// Finds JSON objects in a stream of text: QMP puts nothing between them.

/** Characters of one object. */
const OBJECT_MAX = 2 ** 26;

/** Bytes that cannot be outside of strings, and in them: controls, and what no UTF-8 has. */
const NEVER = /[^\t\n\r -~]|[%]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are meant.
const NEVER_IN_STRING = /[\x00-\x1f\xc0\xc1\xf5-\xff]/;

export class JsonStream {
  #text = '';
  #scanned = 0;
  #depth = 0;
  /** The quotation mark that the string at hand began with. */
  #quote = '';
  #escaped = false;
  /** Something that no JSON has was seen: nothing counts until an object or a line begins. */
  #lost = false;

  /** The texts of the objects that end in `more`. What is no object is a text too, for the reader to refuse. */
  push(more: string): string[] {
    this.#text += more;
    const found: string[] = [];
    for (; this.#scanned < this.#text.length; this.#scanned++) {
      if (!this.#step(this.#text[this.#scanned] as string)) continue;
      const end = this.#scanned + 1;
      found.push(this.#text.slice(0, end).trim());
      this.#text = this.#text.slice(end);
      this.#scanned = -1;
    }
    if (this.#text.length > OBJECT_MAX) {
      found.push(this.#text);
      this.#text = '';
      this.#scanned = this.#depth = 0;
      this.#quote = '';
    }
    return found.filter((text) => text !== '');
  }

  /** True: the character ends an object, or a line that holds none. */
  #step(character: string): boolean {
    if (this.#lost) {
      if (!'{[\n'.includes(character)) return this.#forget();
      this.#lost = false;
    }
    if ((this.#quote === '' ? NEVER : NEVER_IN_STRING).test(character)) {
      this.#lost = true;
      this.#quote = '';
      this.#escaped = false;
      return this.#end();
    }
    if (this.#quote !== '') {
      if (this.#escaped) this.#escaped = false;
      else if (character === '\\') this.#escaped = true;
      else if (character === this.#quote) this.#quote = '';
      return false;
    }
    if (character === '"' || character === "'") this.#quote = character;
    else if (character === '{' || character === '[') this.#depth++;
    else if (character === '}' || character === ']') return --this.#depth <= 0 && this.#end();
    return character === '\n' && this.#depth <= 0 && this.#end();
  }

  /** Drops the character at hand. */
  #forget(): boolean {
    this.#text = this.#text.slice(this.#scanned + 1);
    this.#scanned = -1;
    return false;
  }

  #end(): boolean {
    this.#depth = 0;
    return true;
  }
}

/** Parses JSON whose strings may also stand in single quotes. Throws SyntaxError. */
export function parseLoose(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!text.includes("'")) throw error;
    return JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|'((?:[^'\\]|\\.)*)'/gs, requote));
  }
}

function requote(whole: string, inner: string | undefined): string {
  return inner === undefined ? whole : `"${inner.replaceAll('"', '\\"').replaceAll("\\'", "'")}"`;
}
