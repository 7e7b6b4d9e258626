// A folder of compiled programs, which outlive their process. One file each,
// named by its key:
//
//     the key; the SHA-256 of key and content; the content
//
// Files appear whole, by renaming, so that any number of processes can share
// the folder, and a kill leaves a temporary file at most. Nothing here fails:
// what cannot be read or written is missing. The file "problem" has the last
// reason, for people.
#ifndef HRLAB_CACHE_H_
#define HRLAB_CACHE_H_

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <vector>

// BoringSSL's, exported by libtensorflow_cc; the wheel lacks its header.
extern "C" uint8_t* SHA256(const uint8_t* data, size_t size, uint8_t out[32]);

// The SHA-256 of the texts' hashes: no two lists of texts run together.
inline std::string Hash(std::initializer_list<std::string_view> texts) {
  std::string all;
  for (std::string_view text : texts) {
    uint8_t hash[32];
    SHA256(reinterpret_cast<const uint8_t*>(text.data()), text.size(), hash);
    all.append(reinterpret_cast<char*>(hash), sizeof hash);
  }
  return texts.size() == 1 ? all : Hash({all});
}

class Cache {
 public:
  // No folder where HRLAB_XLA_CACHE is not an absolute path, such as "off", or
  // where others may write: what is read there is run.
  Cache() {
    const char* dir = getenv("HRLAB_XLA_CACHE");
    if (!dir || dir[0] != '/') return;
    std::error_code ignored;  // mkdir or stat notices
    std::filesystem::create_directories(
        std::filesystem::path(dir).parent_path(), ignored);
    mkdir(dir, 0700);
    struct stat s;
    if (stat(dir, &s) == 0 && S_ISDIR(s.st_mode) && s.st_uid == geteuid() &&
        !(s.st_mode & (S_IWGRP | S_IWOTH)))
      dir_ = dir;
  }

  bool on() const { return !dir_.empty(); }

  // The content of key. Reading it makes it the last one used.
  std::optional<std::string> Get(const std::string& key) const {
    const int file = open(Path(key).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
      if (errno != ENOENT) Problem("cannot be opened", errno);
      return std::nullopt;
    }
    struct stat s;
    std::string all;
    if (fstat(file, &s) == 0 && S_ISREG(s.st_mode) && s.st_size <= kLimit) {
      all.resize(s.st_size);
      size_t done = 0;
      for (ssize_t n = 1; n > 0 && done < all.size(); done += n)
        n = std::max<ssize_t>(0, read(file, &all[done], all.size() - done));
      all.resize(done);
      futimens(file, nullptr);
    }
    close(file);
    const std::string_view head = std::string_view(all).substr(0, 64);
    if (head.size() < 64 || head.substr(0, 32) != key ||
        head.substr(32) != Hash({key, std::string_view(all).substr(64)})) {
      Problem("damaged, or of another key");
      return std::nullopt;
    }
    all.erase(0, 64);
    return all;
  }

  // Keeps content, and drops what was not used for longest beyond kLimit.
  void Put(const std::string& key, const std::string& content) const {
    if (content.size() > kLimit / 2) return;
    Write(Path(key), key + Hash({key, content}) + content);
    Trim();
  }

  void Problem(const std::string& what, int error = 0) const {
    Write(dir_ + "/problem",
          what + (error ? std::string(": ") + strerror(error) : "") + "\n",
          /*tell=*/false);
  }

 private:
  static constexpr off_t kLimit = 256 << 20;

  std::string Path(const std::string& key) const {
    std::string path = dir_ + "/";
    for (unsigned char c : key) {
      path += "0123456789abcdef"[c >> 4];
      path += "0123456789abcdef"[c & 15];
    }
    return path + ".xla";
  }

  void Write(const std::string& path, const std::string& bytes,
             bool tell = true) const {
    std::string temporary = dir_ + "/tmp-XXXXXX";
    const int file = mkostemp(temporary.data(), O_CLOEXEC);
    int error = file < 0 ? errno : 0;
    for (size_t done = 0; !error && done < bytes.size();) {
      const ssize_t n = write(file, &bytes[done], bytes.size() - done);
      if (n > 0) done += n;
      else if (errno != EINTR) error = errno;
    }
    if (file >= 0 && close(file) != 0 && !error) error = errno;
    if (!error && rename(temporary.c_str(), path.c_str()) != 0) error = errno;
    if (!error) return;
    if (file >= 0) unlink(temporary.c_str());
    if (tell) Problem("cannot be written", error);
  }

  void Trim() const {
    DIR* dir = opendir(dir_.c_str());
    if (!dir) return;
    std::vector<std::tuple<time_t, long, off_t, std::string>> files;
    off_t total = 0;
    while (const dirent* entry = readdir(dir)) {
      const std::string_view name = entry->d_name;
      const std::string path = dir_ + "/" + entry->d_name;
      struct stat s;
      if (lstat(path.c_str(), &s) != 0 || !S_ISREG(s.st_mode)) continue;
      if (name.size() == 68 && name.substr(64) == ".xla") {
        total += s.st_size;
        files.emplace_back(s.st_mtim.tv_sec, s.st_mtim.tv_nsec, s.st_size,
                           path);
      } else if (name.substr(0, 4) == "tmp-" &&
                 s.st_mtim.tv_sec + 3600 < time(nullptr)) {
        unlink(path.c_str());  // of a process that was killed
      }
    }
    closedir(dir);
    std::sort(files.begin(), files.end());
    for (const auto& [seconds, nanoseconds, size, path] : files) {
      if (total <= kLimit) break;
      unlink(path.c_str());
      total -= size;
    }
  }

  std::string dir_;
};

#endif  // HRLAB_CACHE_H_
