// The model of an exported page: tokenizer, KV cache and sampling. It rounds where model.py rounds in bfloat16
// after lib/quantize.py, since almost equally probable tokens would otherwise be chosen differently.

// ---- numbers ----

const float = new Float32Array(1), floatBits = new Uint32Array(float.buffer);

/** The bfloat16 nearest to a number, ties to even. */
function bf16(x) {
  float[0] = x;
  floatBits[0] += 0x7fff + (floatBits[0] >>> 16 & 1);
  floatBits[0] &= 0xffff0000;
  return float[0];
}

function fromBits(high) {
  floatBits[0] = high << 16;
  return float[0];
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * {name: Float32Array} of what pack() in export_html.py wrote: entries of [name, numbers, kind].
 * An int8 weight becomes its product with the scale, which float32 holds exactly, if torch multiplies so: see linear.
 */
function readTensors(entries, bytes) {
  const tensors = {}, int8 = {};
  let at = 0;
  for (const [name, count, kind] of entries) {
    if (kind === 'int8') {
      int8[name] = new Int8Array(bytes.buffer, at, count);
      at += count;
      continue;
    }
    const numbers = tensors[name] = new Float32Array(count);
    const q = int8['lm_head.weight'], scale = tensors['lm_head.scale'], columns = count / (scale || numbers).length;
    for (let i = 0; i < count; i++) {
      let high = bytes[at + i] | bytes[at + count + i] << 8;
      if (kind === 'tied') { // the difference, in units of the last place, from the int8 weight
        bf16(q[i] * scale[Math.floor(i / columns)]);
        high = (high >>> 1 ^ -(high & 1)) + (floatBits[0] >>> 16);
      }
      numbers[i] = fromBits(high & 0xffff);
    }
    at += 2 * count;
  }
  for (const [name, q] of Object.entries(int8)) {
    const scale = tensors[name.replace('weight', 'scale')], columns = q.length / scale.length;
    tensors[name] = Float32Array.from(q);
    for (let i = 0; i < q.length && columns % 16 === 0; i++) tensors[name][i] *= scale[Math.floor(i / columns)];
  }
  return tensors;
}

// ---- layers: each works on one token ----

/** The product of x and the row of w that begins at an index, in 16 float32 sums, as torch's kernel with AVX-512. */
function dot(w, from, x) {
  const f = Math.fround, whole = x.length - x.length % 16;
  let a = f(0), b = f(0), c = f(0), d = f(0), e = f(0), g = f(0), h = f(0), i = f(0);
  let j = f(0), l = f(0), m = f(0), n = f(0), o = f(0), p = f(0), q = f(0), r = f(0), k = 0;
  for (; k < whole; k += 16, from += 16) {
    a = f(a + f(w[from] * x[k])); b = f(b + f(w[from + 1] * x[k + 1]));
    c = f(c + f(w[from + 2] * x[k + 2])); d = f(d + f(w[from + 3] * x[k + 3]));
    e = f(e + f(w[from + 4] * x[k + 4])); g = f(g + f(w[from + 5] * x[k + 5]));
    h = f(h + f(w[from + 6] * x[k + 6])); i = f(i + f(w[from + 7] * x[k + 7]));
    j = f(j + f(w[from + 8] * x[k + 8])); l = f(l + f(w[from + 9] * x[k + 9]));
    m = f(m + f(w[from + 10] * x[k + 10])); n = f(n + f(w[from + 11] * x[k + 11]));
    o = f(o + f(w[from + 12] * x[k + 12])); p = f(p + f(w[from + 13] * x[k + 13]));
    q = f(q + f(w[from + 14] * x[k + 14])); r = f(r + f(w[from + 15] * x[k + 15]));
  }
  for (; k < x.length; k++, from++) a = f(a + f(w[from] * x[k]));
  return f(f(f(f(a + j) + f(e + o)) + f(f(c + m) + f(h + q))) + f(f(f(b + l) + f(g + p)) + f(f(d + n) + f(i + r))));
}

/** As Int8Linear in lib/quantize.py: with other than a multiple of 16 columns, the scale comes after the sum. */
function linear(tensors, name, x, y) {
  const weight = tensors[name + '.weight'], scale = tensors[name + '.scale'], bias = tensors[name + '.bias'];
  const columns = x.length, scaled = columns % 16 === 0;
  for (let n = 0; n < scale.length; n++) {
    const sum = bf16(dot(weight, n * columns, x)), product = scaled ? sum : bf16(sum * scale[n]);
    y[n] = bias ? bf16(product + bias[n]) : product;
  }
  return y;
}

/** The float32 sum of count squares in the order of torch: 32 sums, of which those of 16 numbers are added apart. */
function sumOfSquares(x, from, count) {
  const near = new Float32Array(32), far = new Float32Array(32), end = from + count;
  let i = from;
  for (; i + 31 < end; i += 32) {
    for (let k = 0; k < 32; k++) near[k] += x[i + k] * x[i + k];
    if ((i - from) % 512 === 480) {
      near.forEach((value, k) => { far[k] += value; });
      near.fill(0);
    }
  }
  far.forEach((value, k) => { near[k] += value; });
  for (; i + 7 < end; i += 8) for (let k = 0; k < 8; k++) near[k] += x[i + k] * x[i + k];
  for (let k = 8; k < 32; k++) near[k % 8] += near[k];
  far[0] = 0;
  for (; i < end; i++) far[0] += x[i] * x[i];
  for (let k = 0; k < 8; k++) far[0] += near[k];
  return far[0];
}

/** RMSNorm of count numbers of x from an index on, without a gain. */
function rmsNorm(x, from, count, y) {
  const mean = Math.fround(Math.fround(sumOfSquares(x, from, count) / count) + Math.fround(1e-6));
  const scale = Math.fround(1 / Math.fround(Math.sqrt(mean)));
  for (let i = from; i < from + count; i++) y[i] = bf16(x[i] * scale);
  return y;
}

function layerNorm(x, gain, bias, y) {
  let mean = 0, variance = 0;
  for (const value of x) mean += value / x.length;
  for (const value of x) variance += (value - mean) ** 2 / x.length;
  const scale = 1 / Math.sqrt(variance + 1e-5);
  for (let i = 0; i < x.length; i++) y[i] = bf16((x[i] - mean) * scale * gain[i] + (bias ? bias[i] : 0));
  return y;
}

function norm(model, name, x, y) {
  const {config, tensors} = model;
  return config.arch === 'gpt2' ? layerNorm(x, tensors[name + '.weight'], tensors[name + '.bias'], y)
    : rmsNorm(x, 0, x.length, y);
}

/** The error function to float32 precision (Abramowitz and Stegun 1964, 7.1.6). */
function erf(x) {
  if (Math.abs(x) > 4) return Math.sign(x);
  let sum = 0, term = x;
  for (let n = 1; Math.abs(term) > 1e-12; n += 2) {
    sum += term;
    term *= 2 * x * x / (n + 2);
  }
  return Math.fround(2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum);
}

const ACTIVATIONS = {
  gelu: (x) => bf16(x / 2 * Math.fround(1 + erf(x * Math.SQRT1_2))),
  gelu_tanh: (x) => bf16(x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))),
  swiglu: (gate, up) => bf16(bf16(gate / (1 + Math.exp(-gate))) * up),
};

function mlp(model, layer, x, y) {
  const activation = ACTIVATIONS[model.config.activation], gated = model.config.activation === 'swiglu';
  const hidden = linear(model.tensors, `h.${layer}.mlp.c_fc`, x, model.hidden);
  const units = gated ? hidden.length / 2 : hidden.length;
  for (let i = 0; i < units; i++) hidden[i] = activation(hidden[i], hidden[units + i]);
  return linear(model.tensors, `h.${layer}.mlp.c_proj`, hidden.subarray(0, units), y);
}

/** QK-norm and RoPE of the query and key heads in qkv. */
function rotate(model, qkv, position) {
  const {n_head, kv_heads, head_dim} = model.config, half = head_dim / 2, table = model.rope;
  for (let head = 0; head < n_head + kv_heads; head++) {
    const from = head * head_dim;
    rmsNorm(qkv, from, head_dim, qkv);
    for (let i = 0; i < half; i++) {
      const a = qkv[from + i], b = qkv[from + half + i];
      const cos = table[2 * (position * half + i)], sin = table[2 * (position * half + i) + 1];
      qkv[from + i] = bf16(bf16(a * cos) - b * sin);
      qkv[from + half + i] = bf16(bf16(b * cos) + a * sin);
    }
  }
}

/** Attention of one token to itself and those before it. rounded: as torch does in bfloat16, see forward. */
function attention(model, layer, x, position, rounded, y) {
  const {n_head, kv_heads, head_dim: D, arch} = model.config, qkv = model.qkv, {weights, heads} = model;
  linear(model.tensors, `h.${layer}.attn.c_attn`, x, qkv);
  if (arch === 'modern') rotate(model, qkv, position);
  const width = kv_heads * D, keys = model.keys[layer], values = model.values[layer], firstKey = n_head * D;
  keys.set(qkv.subarray(firstKey, firstKey + width), position * width);
  values.set(qkv.subarray(firstKey + width), position * width);
  for (let head = 0; head < n_head; head++) {
    const q = head * D, kv = Math.floor(head * kv_heads / n_head) * D;
    let largest = -Infinity, total = 0;
    for (let s = 0; s <= position; s++) {
      let score = 0;
      for (let i = 0, k = s * width + kv; i < D; i++) score += qkv[q + i] * keys[k + i];
      weights[s] = rounded ? bf16(score / Math.sqrt(D)) : score / Math.sqrt(D);
      largest = Math.max(largest, weights[s]);
    }
    for (let s = 0; s <= position; s++) total += weights[s] = Math.exp(weights[s] - largest);
    heads.fill(0, q, q + D);
    for (let s = 0; s <= position; s++) {
      const weight = rounded ? bf16(weights[s] / total) : weights[s] / total;
      for (let i = 0, k = s * width + kv; i < D; i++) heads[q + i] += weight * values[k + i];
    }
  }
  return linear(model.tensors, `h.${layer}.attn.c_proj`, Float32Array.from(heads, bf16), y);
}

// ---- the model ----

/** A model with room for the keys and values of block_size tokens. */
function makeModel(config, tensors) {
  const {n_layer, n_head, kv_heads, head_dim, n_embd, block_size} = config;
  const floats = (count) => new Float32Array(count), caches = () => Array.from({length: n_layer},
    () => floats(block_size * kv_heads * head_dim));
  const rope = floats(block_size * head_dim); // cosine and sine of each position and pair
  for (let i = 0; config.arch === 'modern' && i < rope.length / 2; i++) {
    const pair = 2 * (i % (head_dim / 2)), position = Math.floor(2 * i / head_dim);
    const angle = Math.fround(position * Math.fround(config.rope_theta ** Math.fround(-pair / head_dim)));
    rope[2 * i] = bf16(Math.cos(angle));
    rope[2 * i + 1] = bf16(Math.sin(angle));
  }
  return {config, tensors, rope, keys: caches(), values: caches(), x: floats(n_embd), normed: floats(n_embd),
    added: floats(n_embd), heads: new Float64Array(n_embd), qkv: floats((n_head + 2 * kv_heads) * head_dim),
    weights: new Float64Array(block_size), hidden: floats(tensors['h.0.mlp.c_fc.scale'].length),
    logits: floats(tensors['lm_head.scale'].length)};
}

/**
 * Read a token at a position of the context; the model's keys and values hold those before it.
 * together: how many tokens torch would read in one pass. From 16 to 512, its attention rounds to bfloat16.
 */
function forward(model, token, position, together) {
  const {config, tensors, x, normed, added} = model, C = config.n_embd, wte = tensors['wte.weight'];
  const add = () => added.forEach((value, i) => { x[i] = bf16(x[i] + value); });
  for (let i = 0; i < C; i++) x[i] = wte[token * C + i];
  if (config.arch === 'gpt2') {
    for (let i = 0; i < C; i++) x[i] = bf16(x[i] + tensors['wpe.weight'][position * C + i]);
  } else {
    rmsNorm(x, 0, C, x);
  }
  const rounded = together >= 16 && together <= 512;
  for (let layer = 0; layer < config.n_layer; layer++) {
    attention(model, layer, norm(model, `h.${layer}.ln_1`, x, normed), position, rounded, added);
    add();
    mlp(model, layer, norm(model, `h.${layer}.ln_2`, x, normed), added);
    add();
  }
}

/** The logits after the token that was read last. */
function nextLogits(model) {
  return linear(model.tensors, 'lm_head', norm(model, 'ln_f', model.x, model.normed), model.logits);
}

/**
 * Up to count new tokens after those in ids, until choose(logits) returns the end of a document.
 * It yields each, and null after every other token it reads, so that the caller can pause.
 * Beyond block_size tokens it goes on with the last half of them, as lib/decode.py does.
 */
function* generate(model, ids, count, choose) {
  const {block_size, eot} = model.config;
  let context = ids.slice(), read = 0;
  for (; count > 0; count--) {
    if (context.length > block_size) {
      context = context.slice(-Math.max(1, block_size >> 1));
      for (read = 0; read < context.length - 1; read++) {
        forward(model, context[read], read, context.length - 1);
        yield null;
      }
    }
    for (const together = context.length - read; read < context.length; read++) {
      forward(model, context[read], read, together);
      if (read < context.length - 1) yield null;
    }
    const token = choose(nextLogits(model));
    if (token === eot) return;
    context.push(token);
    yield token;
  }
}

// ---- sampling, as in lib/generate.py ----

/** The probabilities of the next token; topK 0 and topP 1 keep all tokens; temperature above 0. */
function probabilities(logits, temperature, topK, topP) {
  const probs = new Float64Array(logits.length), most = logits[argmax(logits)];
  const threshold = 0 < topK && topK < logits.length ? logits.slice().sort()[logits.length - topK] : -Infinity;
  for (let i = 0; i < probs.length; i++) {
    if (logits[i] >= threshold) probs[i] = Math.exp((logits[i] - most) / temperature);
  }
  normalize(probs);
  if (topP >= 1) return probs;
  const least = (1 - topP) / probs.length; // topP is reached before those below it, which need not be sorted
  const order = [...probs.keys()].filter((i) => probs[i] >= least).sort((a, b) => probs[b] - probs[a] || a - b);
  const kept = new Float64Array(probs.length);
  let before = 0;
  for (const i of order) {
    if (before > 0 && before >= topP) break;
    kept[i] = probs[i];
    before += probs[i];
  }
  return normalize(kept);
}

function normalize(probs) {
  let total = 0;
  for (let i = 0; i < probs.length; i++) total += probs[i];
  for (let i = 0; i < probs.length; i++) probs[i] /= total;
  return probs;
}

/** The index of the largest number, the first of several. */
function argmax(numbers) {
  let best = 0;
  for (let i = 1; i < numbers.length; i++) if (numbers[i] > numbers[best]) best = i;
  return best;
}

/** The next token; noise: uniform in [0, 1). Temperature 0 takes the first of the most probable ones. */
function sampleToken(logits, {temperature, topK, topP}, noise) {
  if (temperature < 1e-6) return argmax(logits);
  const probs = probabilities(logits, temperature, topK, topP);
  let last = 0;
  for (let i = 0; i < probs.length; i++) {
    if (probs[i] > 0) last = i;
    if (probs[i] > 0 && (noise -= probs[i]) < 0) break;
  }
  return last;
}

// ---- tokenizers, as in data/tokenizer.py ----

/** {encode, bytesOf}: a text's ids, and the bytes of an id. encode throws an Error for an unknown character. */
function makeTokenizer(description) {
  return description.kind === 'char' ? charTokenizer([...description.chars])
    : bpeTokenizer(description.tokens, new RegExp(description.pattern, 'gu'));
}

function charTokenizer(chars) {
  const ids = new Map(chars.map((char, i) => [char, i])), utf8 = new TextEncoder();
  const encode = (text) => {
    const unknown = new Set([...text].filter((char) => !ids.has(char)));
    if (unknown.size) throw Error(`The model knows ${chars.length} characters, and not ${[...unknown].join(' ')}`);
    return [...text].map((char) => ids.get(char));
  };
  return {encode: (text) => encode(text || (ids.has('\n') ? '\n' : chars[0])),
    bytesOf: (id) => utf8.encode(chars[id])};
}

/** Byte-level BPE; tokens: strings with a character for each byte, those learned first come first. */
function bpeTokenizer(tokens, pattern) {
  const ranks = new Map(tokens.map((token, i) => [token, i])), utf8 = new TextEncoder();
  const encode = (piece) => {
    let bytes = '';
    for (const byte of utf8.encode(piece)) bytes += String.fromCharCode(byte);
    return ranks.has(bytes) ? [ranks.get(bytes)] : merge([...bytes], ranks);
  };
  return {encode: (text) => [tokens.length, ...(text.match(pattern) || []).flatMap(encode)],
    bytesOf: (id) => Uint8Array.from(tokens[id], (char) => char.charCodeAt(0))};
}

/** The ids of a list of tokens: the pair that was learned first is merged, again and again. */
function merge(parts, ranks) {
  const rank = (i) => (i + 1 < parts.length ? ranks.get(parts[i] + parts[i + 1]) : undefined) ?? Infinity;
  const pairs = parts.map((_, i) => rank(i));
  for (;;) {
    let best = 0;
    for (let i = 1; i < pairs.length; i++) if (pairs[i] < pairs[best]) best = i;
    if (pairs[best] === Infinity) return parts.map((part) => ranks.get(part));
    parts.splice(best, 2, parts[best] + parts[best + 1]);
    pairs.splice(best, 1);
    pairs[best] = rank(best);
    if (best > 0) pairs[best - 1] = rank(best - 1);
  }
}
